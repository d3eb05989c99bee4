package dev.baton.client.command;

import picocli.CommandLine.Option;

/** The option {@code -o table|json}. */
final class OutputFormat {
  enum Format {
    TABLE,
    JSON;

    @Override
    public String toString() {
      return name().toLowerCase(java.util.Locale.ROOT);
    }
  }

  @Option(
      names = {"-o", "--output"},
      paramLabel = "table|json",
      description = "What to print (default: table).")
  private Format format = Format.TABLE;

  boolean json() {
    return format == Format.JSON;
  }
}
