package dev.baton.deploy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Network namespaces of this machine, none of which reaches beyond. Needs root. */
final class Namespaces implements AutoCloseable {
  private final String prefix = "baton" + ProcessHandle.current().pid() + "-";
  private final List<String> namespaces = new ArrayList<>();

  /**
   * What a command printed.
   *
   * @param text both streams
   */
  record Result(int exit, String text) {}

  /** Whether this machine and this user can make some. */
  static boolean possible() throws IOException, InterruptedException {
    if (!"root".equals(System.getProperty("user.name"))) {
      return false;
    }
    String name = "baton" + ProcessHandle.current().pid() + "-try";
    boolean made = run(List.of("ip", "netns", "add", name)).exit() == 0;
    return made && run(List.of("ip", "netns", "del", name)).exit() == 0;
  }

  /** Adds one, with its loopback interface; its full name. */
  String add(String name) throws IOException, InterruptedException {
    String full = prefix + name;
    ip("netns", "add", full);
    namespaces.add(full);
    ip("-n", full, "link", "set", "lo", "up");
    return full;
  }

  /** A command line that runs in one, by the name that it was added by. */
  List<String> at(String name, List<String> command) {
    return in(prefix + name, command.toArray(String[]::new));
  }

  static List<String> in(String namespace, String... command) {
    List<String> line = new ArrayList<>(List.of("ip", "netns", "exec", namespace));
    line.addAll(List.of(command));
    return line;
  }

  static void ip(String... arguments) throws IOException, InterruptedException {
    List<String> line = new ArrayList<>(List.of("ip"));
    line.addAll(List.of(arguments));
    must(line);
  }

  static void must(List<String> command) throws IOException, InterruptedException {
    Result result = run(command);
    if (result.exit() != 0) {
      throw new IOException(String.join(" ", command) + ": " + result.text());
    }
  }

  /** Runs a command to its end; 127 where there is no such program. */
  static Result run(List<String> command) throws IOException, InterruptedException {
    Path out = Files.createTempFile("nat", ".out");
    try {
      Process process;
      try {
        process =
            new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(out.toFile())
                .start();
      } catch (IOException e) {
        return new Result(127, String.valueOf(e.getMessage()));
      }
      process.getOutputStream().close();
      if (!process.waitFor(5, TimeUnit.MINUTES)) {
        process.destroyForcibly();
      }
      return new Result(process.waitFor(), Files.readString(out, StandardCharsets.UTF_8).strip());
    } finally {
      Files.delete(out);
    }
  }

  /** Removes every namespace, and with it what was in it. */
  @Override
  public void close() throws IOException, InterruptedException {
    for (String namespace : namespaces) {
      Result unused = run(List.of("ip", "netns", "del", namespace));
    }
    namespaces.clear();
  }
}
