package dev.baton.client.command;

import dev.baton.client.output.Terminal;
import java.io.Writer;

/** Lets picocli print to a {@link Terminal}. */
final class TerminalWriter extends Writer {
  private final Terminal terminal;

  TerminalWriter(Terminal terminal) {
    this.terminal = terminal;
  }

  @Override
  public void write(char[] chars, int offset, int length) {
    terminal.print(new String(chars, offset, length));
  }

  @Override
  public void flush() {
    terminal.flush();
  }

  @Override
  public void close() {
    terminal.flush();
  }
}
