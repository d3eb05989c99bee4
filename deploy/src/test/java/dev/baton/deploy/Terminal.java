package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/** A program on a real terminal, which util-linux's {@code script} makes, and its keyboard. */
final class Terminal implements AutoCloseable {
  static final String CONTROL_C = "\u0003";

  private static final Path SCRIPT = Path.of("/usr/bin/script");
  private static final Duration LIMIT = Duration.ofMinutes(2);

  private final Path seen;
  private final Process process;
  private final OutputStream keyboard;

  private Terminal(ProcessBuilder builder, String line, Path seen) throws IOException {
    assumeTrue(Files.isExecutable(SCRIPT), "there is no " + SCRIPT);
    this.seen = seen;
    this.process =
        builder
            .command(SCRIPT.toString(), "-qefc", line, "/dev/null")
            .redirectErrorStream(true)
            .redirectOutput(seen.toFile())
            .start();
    this.keyboard = process.getOutputStream();
  }

  /**
   * A shell.
   *
   * @param home where it looks for files of its user's
   * @param seen the file for all that it prints
   */
  static Terminal zsh(Path home, Path seen) throws IOException {
    ProcessBuilder builder = new ProcessBuilder();
    builder.environment().put("ZDOTDIR", home.toString());
    return new Terminal(builder, "exec /usr/bin/zsh -fi", seen);
  }

  /** A client of the cluster's, in so large a window. */
  static Terminal client(LocalCluster cluster, Path seen, int rows, int columns, String... args)
      throws IOException {
    ProcessBuilder builder = cluster.client(args);
    // Control-C counts, though a build that runs in the background may have it ignored.
    String line =
        "stty rows %d cols %d; exec env --default-signal=INT %s"
            .formatted(rows, columns, String.join(" ", builder.command()));
    return new Terminal(builder, line, seen);
  }

  void type(String keys) throws IOException {
    keyboard.write(keys.getBytes(StandardCharsets.UTF_8));
    keyboard.flush();
  }

  /** All that was printed so far. */
  String seen() throws IOException {
    return Files.readString(seen, StandardCharsets.UTF_8);
  }

  /** Waits until what was printed is as wanted. */
  void await(Predicate<String> wanted) throws IOException, InterruptedException {
    long end = System.nanoTime() + LIMIT.toNanos();
    while (!wanted.test(seen())) {
      assertThat(System.nanoTime()).as(seen()).isLessThan(end);
      TimeUnit.MILLISECONDS.sleep(100);
    }
  }

  /** Waits for its end; the exit code. */
  int exit() throws IOException, InterruptedException {
    assertThat(process.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS)).as(seen()).isTrue();
    return process.exitValue();
  }

  @Override
  public void close() {
    process.destroyForcibly();
  }
}
