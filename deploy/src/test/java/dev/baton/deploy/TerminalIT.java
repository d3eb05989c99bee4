package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a person sees: the client on a real terminal. */
class TerminalIT {
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
    try (LocalCluster cluster = LocalCluster.start(dir.resolve("cluster"))) {
      cluster.startWorker("first");
      String job = cluster.submit(JOB);
      Path seen = dir.resolve("seen");
      // So wide that the bar fits.
      try (Terminal terminal = Terminal.client(cluster, seen, 40, 120, "watch", job)) {
        // One line that is drawn over and over.
        terminal.await(text -> text.contains("\r") && text.split("samples/s", -1).length > 3);
        terminal.type(Terminal.CONTROL_C);
        assertThat(terminal.exit()).as(terminal.seen()).isEqualTo(130);
      }
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
}
