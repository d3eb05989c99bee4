package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The line that makes any machine a worker, and the worker in a home where it was pasted. */
final class JoinLine {
  /** A job for such a worker, which does not end by itself. */
  static final String JOB =
      """
      name: join
      model: {builtin: {name: linear, in_features: 2, out_features: 1}}
      data: {train: {synthetic: {regression: {samples: 1000}}}}
      training:
        epochs: 1000000
        batch_size: 100
        optimizer: {adam: {lr: 0.1}}
        loss: mse
        seed: 7
      checkpoint: {interval: 1s}
      """;

  private JoinLine() {}

  /** Makes a token for a worker; the line to paste, which ends with it. */
  static String of(LocalCluster cluster) throws IOException, InterruptedException {
    JsonNode made =
        LocalCluster.JSON.readTree(
            cluster.baton("token", "create", "--role", "worker", "-o", "json").orFail());
    assertThat(made.get("join").asText()).endsWith(made.get("token").asText());
    return made.get("join").asText();
  }

  /** The line with a token that nobody made. */
  static String unknown(String line) {
    return line.replaceFirst("(baton_[0-9a-f]{8}_).{8}", "$1AAAAAAAA");
  }

  /** Where the worker works. */
  static Path work(Path home) {
    return home.resolve("baton-worker");
  }

  /** The worker's process, which may be over. */
  static long pid(Path home) throws IOException {
    return Long.parseLong(Files.readString(work(home).resolve("worker.pid")).strip());
  }

  /** Kills the worker, if there is one. */
  static void kill(Path home) throws IOException {
    if (Files.exists(work(home).resolve("worker.pid"))) {
      ProcessHandle.of(pid(home))
          .ifPresent(
              worker -> {
                worker.descendants().forEach(ProcessHandle::destroyForcibly);
                worker.destroyForcibly();
              });
    }
  }
}
