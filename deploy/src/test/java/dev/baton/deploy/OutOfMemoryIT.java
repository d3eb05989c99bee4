package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A trainer that the kernel kills for its memory is told from one that somebody kills. */
class OutOfMemoryIT {
  private static final Duration LIMIT = Duration.ofMinutes(3);

  /**
   * For the daemon and its trainers; one that holds the activations of 10,000 pictures takes
   * several times that.
   */
  private static final long BYTES = 1L << 30;

  private static final String JOB =
      """
      name: large
      model: {builtin: {name: mnist-cnn, num_classes: 10}}
      data:
        train: {dataset: digits, split: train}
      training:
        max_steps: 2
        batch_size: 10000
        optimizer: {sgd: {lr: 0.02}}
        loss: cross_entropy
      resources: {gpus: 0, memory: 512Mi}
      """;

  @Test
  void endsTheJobAtOnceAndTheWorkerGoesOn(@TempDir Path dir) throws Exception {
    Optional<MemoryCgroup> limited = MemoryCgroup.create(BYTES);
    assumeTrue(limited.isPresent(), "no memory control group can be made here");
    try (MemoryCgroup cgroup = limited.get();
        LocalCluster cluster = LocalCluster.start(dir.resolve("cluster"))) {
      DrawDigits.write(dir.resolve("digits"), 10_000, 10, 5);
      cluster
          .baton("dataset", "push", "digits", dir.resolve("digits").toString(), "--format", "idx")
          .orFail();
      try (Daemon worker = startWorker(cluster, cgroup)) {
        JsonNode large = cluster.await(cluster.submit(JOB), LIMIT);
        assertThat(large.get("state").asText()).as("%s", large).isEqualTo("FAILED");
        assertThat(large.get("attempts")).as("%s", large).hasSize(1);
        assertThat(large.at("/attempts/0/end_reason").asText()).isEqualTo("out of memory");
        assertThat(large.get("reason").asText())
            .contains("the kernel killed the trainer because the machine's memory ran out");
        assertThat(worker.isAlive()).isTrue();

        JsonNode small =
            cluster.await(cluster.submit(JOB.replace("batch_size: 10000", "batch_size: 8")), LIMIT);
        assertThat(small.get("state").asText()).as("%s", small).isEqualTo("SUCCEEDED");
        assertThat(small.get("attempts")).as("%s", small).hasSize(1);
      }
    }
  }

  private static Daemon startWorker(LocalCluster cluster, MemoryCgroup cgroup) throws Exception {
    String[] lines = cluster.baton("token", "create", "--role", "worker").orFail().split("\n", -1);
    Path token = Files.writeString(cluster.dir().resolve("token"), lines[lines.length - 1]);
    return Daemon.start(
        "limited",
        cgroup.command(
            List.of(
                LocalCluster.root().resolve("deploy/bin/baton").toString(),
                "worker",
                "--coordinator",
                cluster.address(),
                "--token-file",
                token.toString(),
                "--work-dir",
                cluster.dir().resolve("limited").toString(),
                "--name",
                "limited")),
        Map.of(),
        cluster.dir().resolve("limited.err"));
  }
}
