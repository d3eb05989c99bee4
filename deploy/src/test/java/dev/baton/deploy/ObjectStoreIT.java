package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Object stores elsewhere than by default: at an advertised host, and somebody else's. */
class ObjectStoreIT {
  private static final String JOB =
      """
      name: line
      model: {builtin: {name: linear}}
      data:
        train: {synthetic: {regression: {samples: 20000}}, shuffle: false}
      training:
        epochs: 300
        batch_size: 20000
        optimizer: {adam: {lr: 0.1}}
        loss: mse
      checkpoint: {interval: 100ms}
      """;

  /** Runs a job whole: its checkpoints and its model pass through the store both ways. */
  private static JsonNode train(LocalCluster cluster, Path dir) throws Exception {
    cluster.startWorker("worker");
    String job = cluster.submit(JOB);
    JsonNode end = cluster.await(job, Duration.ofMinutes(2));
    assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
    assertThat(end.get("checkpoints")).as("%s", end).isNotEmpty();
    Path file = dir.resolve("model.safetensors");
    cluster.baton("artifacts", "get", job, "model.safetensors", "-O", file.toString()).orFail();
    assertThat(Safetensors.read(file).sha256())
        .isEqualTo(end.at("/result/weights_sha256").asText());
    return end;
  }

  /** The sizes of what lies under a folder, whatever its name. */
  private static List<Long> sizes(Path folder) throws IOException {
    List<Long> sizes = new ArrayList<>();
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        sizes.add(Files.size(file));
      }
    }
    return sizes;
  }

  /** It listens at this host alone: who is given the host by which he came gets nowhere. */
  @Test
  void urlsNameTheAdvertisedHost(@TempDir Path dir) throws Exception {
    try (LocalCluster cluster =
        LocalCluster.start(dir.resolve("cluster"), "127.0.0.2", "--advertise", "127.0.0.2")) {
      assertThat(cluster.address()).startsWith("127.0.0.1:");
      JsonNode end = train(cluster, dir);
      assertThat(sizes(cluster.objects())).contains(end.at("/checkpoints/0/bytes").asLong());
    }
  }

  /** Another coordinator's S3 server stands for somebody else's. */
  @Test
  void jobsRunOnSomebodyElsesStore(@TempDir Path dir) throws Exception {
    try (LocalCluster other = LocalCluster.start(dir.resolve("other"))) {
      List<String> key = Files.readAllLines(dir.resolve("other/coordinator/objects.key"));
      Path config =
          Files.writeString(
              dir.resolve("coordinator.yaml"),
              """
              objects:
                endpoint: http://%s
                bucket: trainings
                access_key: %s
                secret_key: %s
              """
                  .formatted(other.objectsAddress(), key.get(0), key.get(1)));
      try (LocalCluster cluster =
          LocalCluster.start(dir.resolve("cluster"), "127.0.0.1", "--config", config.toString())) {
        JsonNode end = train(cluster, dir);
        assertThat(sizes(other.objects().resolve("trainings")))
            .contains(end.at("/checkpoints/0/bytes").asLong());
        assertThat(cluster.objects()).doesNotExist();
      }
    }
  }
}
