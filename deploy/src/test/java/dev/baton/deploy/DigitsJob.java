package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

/**
 * A job that trains a CNN on drawn digits, and what it comes to where nothing disturbs it: the
 * measure of every disturbed run.
 *
 * @param digits the pictures' folder
 * @param epochs of 32 steps each
 * @param shards of each batch
 * @param weights the SHA-256 of the weights
 * @param metrics the losses and accuracies, one to a line
 */
record DigitsJob(Path digits, int epochs, int shards, String weights, String metrics) {
  /** For whatever a test waits for. */
  static final Duration LIMIT = Duration.ofMinutes(4);

  /** Draws the digits, has the cluster keep them, and trains undisturbed on a worker of it. */
  static DigitsJob train(LocalCluster cluster, int epochs, int shards) throws Exception {
    Path digits = cluster.dir().resolve("digits");
    DrawDigits.write(digits, 1_000, 300, 5);
    DigitsJob job = new DigitsJob(digits, epochs, shards, "", "");
    job.push(cluster);
    try (Daemon alone = cluster.startWorker("alone")) {
      // Without a checkpoint on the way: that one is taken must not change a bit either.
      String id = job.submit(cluster, 1, 1, Duration.ofHours(1));
      JsonNode end = cluster.await(id, LIMIT);
      assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
      assertThat(end.get("attempts")).as("%s", end).hasSize(1);
      String weights = end.at("/result/weights_sha256").asText();
      assertThat(weights).hasSize(64);
      String metrics = lossesAndAccuracies(cluster, id);
      // Each tenth step's loss, and an accuracy at least for each epoch.
      assertThat(metrics.lines().count()).isGreaterThan(epochs * 4L);
      assertThat(alone.isAlive()).isTrue();
      return new DigitsJob(digits, epochs, shards, weights, metrics);
    }
  }

  /** Has another cluster keep the digits. */
  void push(LocalCluster cluster) throws Exception {
    cluster.baton("dataset", "push", "digits", digits.toString(), "--format", "idx").orFail();
  }

  /**
   * Submits the job.
   *
   * @param min replicas
   * @param interval between checkpoints
   */
  String submit(LocalCluster cluster, int min, int max, Duration interval) throws Exception {
    return cluster.submit(
        """
        name: digits
        model: {builtin: {name: mnist-cnn, num_classes: 10}}
        data:
          train: {dataset: digits, split: train}
          eval: {dataset: digits, split: test}
          transforms: [{normalize: {mean: [0.2], std: [0.3]}}]
        training:
          epochs: %d
          batch_size: 32
          optimizer: {sgd: {lr: 0.02, momentum: 0.9}}
          loss: cross_entropy
          seed: 3
          log_every: 10
        replicas: {min: %d, max: %d, shards: %d}
        checkpoint: {interval: %dms}
        """
            .formatted(epochs, min, max, shards, interval.toMillis()));
  }

  /** Waits for the end of a run, which must be that of the undisturbed one. */
  JsonNode expectSameEnd(LocalCluster cluster, String job) throws Exception {
    JsonNode end = cluster.await(job, LIMIT);
    assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
    assertThat(end.at("/result/weights_sha256").asText()).as("%s", end).isEqualTo(weights);
    assertThat(end.at("/result/exact").asBoolean()).as("%s", end).isTrue();
    assertThat(lossesAndAccuracies(cluster, job)).isEqualTo(metrics);
    return end;
  }

  /** The weights that the job has left as an artifact are the undisturbed run's too. */
  void expectSameModel(LocalCluster cluster, String job) throws Exception {
    Path file = cluster.dir().resolve("model.safetensors");
    cluster.baton("artifacts", "get", job, "model.safetensors", "-O", file.toString()).orFail();
    assertThat(Safetensors.read(file).sha256()).isEqualTo(weights);
    Files.delete(file);
  }

  /** The committed points but for those that tell the time. */
  private static String lossesAndAccuracies(LocalCluster cluster, String job) throws Exception {
    StringBuilder lines = new StringBuilder();
    for (JsonNode point :
        LocalCluster.JSON.readTree(cluster.baton("metrics", job, "-o", "json").orFail())) {
      String series = point.get("series").asText();
      if (series.endsWith("loss") || series.endsWith("accuracy")) {
        lines.append(series).append(' ').append(point.get("step")).append(' ');
        lines.append(point.get("value")).append('\n');
      }
    }
    return lines.toString();
  }
}
