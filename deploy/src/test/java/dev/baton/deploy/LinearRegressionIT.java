package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The thin whole: submit, train, lose the worker, finish on another with the same bits. */
class LinearRegressionIT {
  private static final String JOB = LinearJob.file(1500, Duration.ofMillis(500));

  @Test
  void recoversTheLineAndTheSameBitsOnAnotherWorker(@TempDir Path dir) throws Exception {
    try (LocalCluster cluster = LocalCluster.start(dir.resolve("cluster"))) {
      Daemon first = cluster.startWorker("first");
      JsonNode undisturbed = cluster.await(cluster.submit(JOB), Duration.ofMinutes(3));
      assertThat(undisturbed.get("state").asText()).as("%s", undisturbed).isEqualTo("SUCCEEDED");

      String job = cluster.submit(JOB);
      try (Watch watch = Watch.of(cluster, job)) {
        watch.await(0, Duration.ofMinutes(1), Watch::isCheckpoint);
        first.kill();
        cluster.startWorker("second");
      }
      JsonNode end = cluster.await(job, Duration.ofMinutes(3));
      assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
      assertThat(end.get("attempts")).as("%s", end).hasSize(2);
      assertThat(end.at("/attempts/1/workers/0").asText()).isEqualTo("second");
      assertThat(end.at("/attempts/1/first_step").asLong()).isGreaterThan(1);
      assertThat(end.at("/attempts/1/last_step").asLong()).isEqualTo(1500);
      assertThat(end.at("/result/weights_sha256").asText())
          .isNotEmpty()
          .isEqualTo(undisturbed.at("/result/weights_sha256").asText());
      assertThat(end.at("/result/exact").asBoolean()).isTrue();

      Path file = dir.resolve("model.safetensors");
      cluster.baton("artifacts", "get", job, "model.safetensors", "-O", file.toString()).orFail();
      Safetensors model = Safetensors.read(file);
      assertThat(model.sha256()).isEqualTo(end.at("/result/weights_sha256").asText());
      assertThat(model.floats("weight")[0]).isCloseTo(2, within(0.05f));
      assertThat(model.floats("weight")[1]).isCloseTo(-3, within(0.05f));
      assertThat(model.floats("bias")[0]).isCloseTo(10, within(0.05f));
    }
  }
}
