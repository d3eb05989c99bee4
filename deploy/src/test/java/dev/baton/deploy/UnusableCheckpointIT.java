package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.time.Duration;
import java.util.HexFormat;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A checkpoint whose bytes are those that the database promises, but which holds something else
 * than the job's state: only the trainer can find that out.
 */
class UnusableCheckpointIT {
  private static final Duration LIMIT = Duration.ofMinutes(3);

  private static final String JOB = LinearJob.file(4000, Duration.ofMillis(300));

  @Test
  void isSkippedForTheOneBeforeItAndTheJobEndsWithTheSameBits(@TempDir Path dir) throws Exception {
    try (LocalCluster cluster = LocalCluster.start(dir.resolve("cluster"))) {
      Daemon first = cluster.startWorker("first");
      JsonNode undisturbed = cluster.await(cluster.submit(JOB), LIMIT);
      assertThat(undisturbed.get("state").asText()).as("%s", undisturbed).isEqualTo("SUCCEEDED");

      String job = cluster.submit(JOB);
      try (Watch watch = Watch.of(cluster, job)) {
        watch.await(0, LIMIT, Watch::isCheckpoint);
        watch.await(watch.mark(), LIMIT, Watch::isCheckpoint);
        first.kill();
      }
      JsonNode committed = cluster.show(job).get("checkpoints");
      assertThat(committed).hasSizeGreaterThan(1);
      JsonNode newest = committed.get(committed.size() - 1);
      cluster.coordinator().kill();
      renameATensor(cluster, newest.get("sha256").asText());
      cluster.restartCoordinator();

      JsonNode damaged;
      try (Watch watch = Watch.of(cluster, job)) {
        cluster.startWorker("second");
        damaged = watch.await(0, LIMIT, e -> e.path("event").asText().equals("checkpoint_damaged"));
      }
      assertThat(damaged.path("message").asText())
          .contains("step " + newest.get("step").asText())
          .contains("lacks tensor 'weight' of this job's model");
      JsonNode end = cluster.await(job, LIMIT);
      assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
      assertThat(end.at("/result/weights_sha256").asText())
          .hasSize(64)
          .isEqualTo(undisturbed.at("/result/weights_sha256").asText());
      assertThat(end.get("attempts")).as("the same term goes on: %s", end).hasSize(2);
      assertThat(end.at("/attempts/1/first_step").asLong())
          .isEqualTo(committed.get(committed.size() - 2).get("step").asLong() + 1);
    }
  }

  /** Makes a checkpoint one of another model, in the store and in the database alike. */
  private static void renameATensor(LocalCluster cluster, String sha256) throws Exception {
    Path object = objectOf(cluster, sha256);
    // Latin 1 keeps every byte.
    String bytes = Files.readString(object, StandardCharsets.ISO_8859_1);
    assertThat(bytes).contains("\"weight\":{");
    Files.writeString(
        object, bytes.replace("\"weight\":{", "\"weighs\":{"), StandardCharsets.ISO_8859_1);
    Path database = cluster.dir().resolve("coordinator/coordinator.db");
    try (Connection connection = DriverManager.getConnection("jdbc:sqlite:" + database);
        PreparedStatement update =
            connection.prepareStatement("UPDATE checkpoint SET sha256 = ? WHERE sha256 = ?")) {
      update.setString(1, sha256(object));
      update.setString(2, sha256);
      assertThat(update.executeUpdate()).isEqualTo(1);
    }
  }

  private static Path objectOf(LocalCluster cluster, String sha256) throws Exception {
    try (Stream<Path> files = Files.walk(cluster.objects())) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        if (sha256(file).equals(sha256)) {
          return file;
        }
      }
    }
    throw new AssertionError("no object with SHA-256 " + sha256);
  }

  private static String sha256(Path file) throws Exception {
    return HexFormat.of()
        .formatHex(MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file)));
  }
}
