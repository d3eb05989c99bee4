package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a person sees: the client on a real terminal, which util-linux's {@code script} makes. */
class TerminalIT {
  private static final char CONTROL_C = 3;

  private static final String JOB =
      """
      name: long
      model: {builtin: {name: linear}}
      data:
        train: {synthetic: {regression: {samples: 20000}}, shuffle: false}
      training:
        epochs: 1000000
        batch_size: 20000
        optimizer: {adam: {lr: 0.1}}
        loss: mse
      """;

  @TempDir Path dir;

  @Test
  void aBarMovesAndControlCLeavesTheJobAlone() throws Exception {
    assumeTrue(Files.isExecutable(Path.of("/usr/bin/script")), "there is no /usr/bin/script");
    try (LocalCluster cluster = LocalCluster.start(dir.resolve("cluster"))) {
      cluster.startWorker("first");
      String job = cluster.submit(JOB);
      Path seen = dir.resolve("seen");
      ProcessBuilder builder = cluster.client("watch", job);
      // So wide a terminal that the bar fits; the launcher asks it for its width. And Control-C
      // counts,
      // though a build that runs in the background may have it ignored.
      String line =
          "stty rows 40 cols 120; exec env --default-signal=INT "
              + String.join(" ", builder.command());
      Process process =
          builder
              .command("/usr/bin/script", "-qefc", line, "/dev/null")
              .redirectErrorStream(true)
              .redirectOutput(seen.toFile())
              .start();
      try (OutputStream keyboard = process.getOutputStream()) {
        long end = System.nanoTime() + Duration.ofMinutes(2).toNanos();
        // One line that is drawn over and over.
        while (bars(seen) < 3 && process.isAlive() && System.nanoTime() < end) {
          Thread.sleep(100);
        }
        assertThat(bars(seen)).as(text(seen)).isGreaterThanOrEqualTo(3);
        keyboard.write(CONTROL_C);
        keyboard.flush();
        assertThat(process.waitFor(60, TimeUnit.SECONDS)).as(text(seen)).isTrue();
      } finally {
        process.destroyForcibly();
      }
      assertThat(process.exitValue()).as(text(seen)).isEqualTo(130);
      assertThat(text(seen)).contains("on first").contains("samples/s").doesNotContain("Exception");
      assertThat(text(seen)).as("the terminal is left on a new line").endsWith("\n");
      assertThat(cluster.show(job).get("state").asText()).isEqualTo("RUNNING");

      // The same in a pipe is quiet but for what happens.
      ProcessBuilder piped = cluster.client("watch", job);
      Path out = dir.resolve("out");
      Process quiet = piped.redirectErrorStream(true).redirectOutput(out.toFile()).start();
      cluster.baton("cancel", job).orFail();
      assertThat(quiet.waitFor(60, TimeUnit.SECONDS)).isTrue();
      assertThat(quiet.exitValue()).as(text(out)).isEqualTo(3);
      assertThat(text(out)).contains("CANCELLED").doesNotContain("\r").doesNotContain("samples/s");
    }
  }

  private static String text(Path file) throws Exception {
    return Files.readString(file, StandardCharsets.UTF_8);
  }

  private static long bars(Path file) throws Exception {
    return text(file).chars().filter(c -> c == '\r').count() == 0
        ? 0
        : text(file).split("samples/s", -1).length - 1L;
  }
}
