package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Comparator;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Every way to lose a worker, a trainer or the coordinator, with real processes. After each the job
 * SUCCEEDS with the weights of an undisturbed run, and with its metrics.
 */
class PreemptionIT {
  private static final Duration LIMIT = Duration.ofMinutes(4);

  @TempDir static Path shared;
  private static String weights;
  private static String metrics;

  @TempDir Path dir;
  private LocalCluster cluster;
  private Daemon first;

  private static String job(Duration interval) {
    return """
        name: preempted
        model: {builtin: {name: mnist-cnn, num_classes: 10}}
        data:
          train: {dataset: digits, split: train}
          eval: {dataset: digits, split: test}
          transforms: [{normalize: {mean: [0.2], std: [0.3]}}]
        training:
          epochs: 40
          batch_size: 32
          optimizer: {sgd: {lr: 0.02, momentum: 0.9}}
          loss: cross_entropy
          seed: 3
          log_every: 10
        replicas: {shards: 2}
        checkpoint: {interval: %dms}
        """
        .formatted(interval.toMillis());
  }

  @BeforeAll
  static void trainUndisturbed() throws Exception {
    DrawDigits.write(shared.resolve("digits"), 1_000, 300, 5);
    try (LocalCluster cluster = clusterWithDigits(shared.resolve("undisturbed"))) {
      cluster.startWorker("alone");
      // Without a checkpoint on the way: that one is taken must not change a bit either.
      String job = cluster.submit(job(Duration.ofHours(1)));
      JsonNode end = cluster.await(job, LIMIT);
      assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
      assertThat(end.get("attempts")).hasSize(1);
      weights = end.at("/result/weights_sha256").asText();
      metrics = lossesAndAccuracies(cluster, job);
      assertThat(weights).hasSize(64);
      assertThat(metrics.lines().count()).isGreaterThan(100);
    }
  }

  private static LocalCluster clusterWithDigits(Path dir) throws Exception {
    LocalCluster cluster = LocalCluster.start(dir);
    cluster
        .baton("dataset", "push", "digits", shared.resolve("digits").toString(), "--format", "idx")
        .orFail();
    return cluster;
  }

  /** The committed points but for those that tell the time. */
  private static String lossesAndAccuracies(LocalCluster cluster, String job) throws Exception {
    StringBuilder lines = new StringBuilder();
    JsonNode points =
        LocalCluster.JSON.readTree(cluster.baton("metrics", job, "-o", "json").orFail());
    for (JsonNode point : points) {
      String series = point.get("series").asText();
      if (series.endsWith("loss") || series.endsWith("accuracy")) {
        lines.append(series).append(' ').append(point.get("step")).append(' ');
        lines.append(point.get("value")).append('\n');
      }
    }
    return lines.toString();
  }

  @BeforeEach
  void start() throws Exception {
    cluster = clusterWithDigits(dir.resolve("cluster"));
    first = cluster.startWorker("first");
  }

  @AfterEach
  void stop() {
    cluster.close();
  }

  private JsonNode expectSameEnd(String job) throws Exception {
    JsonNode end = cluster.await(job, LIMIT);
    assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
    assertThat(end.at("/result/weights_sha256").asText()).as("%s", end).isEqualTo(weights);
    assertThat(end.at("/result/exact").asBoolean()).isTrue();
    assertThat(lossesAndAccuracies(cluster, job)).isEqualTo(metrics);
    Path file = dir.resolve("model.safetensors");
    cluster.baton("artifacts", "get", job, "model.safetensors", "-O", file.toString()).orFail();
    assertThat(Safetensors.read(file).sha256()).isEqualTo(weights);
    return end;
  }

  /** Submits a job and waits until it trains and has a checkpoint. */
  private String submitAndTrain(Watcher then) throws Exception {
    String job = cluster.submit(job(Duration.ofMillis(500)));
    try (Watch watch = Watch.of(cluster, job)) {
      watch.await(0, LIMIT, Watch::isCheckpoint);
      then.accept(watch);
    }
    return job;
  }

  @FunctionalInterface
  private interface Watcher {
    void accept(Watch watch) throws Exception;
  }

  /** Waits until the worker has a snapshot on its disk that is not committed yet. */
  private void awaitSnapshot(Daemon worker) throws Exception {
    Path attempts = cluster.dir().resolve(worker.name());
    long end = System.nanoTime() + LIMIT.toNanos();
    while (System.nanoTime() < end) {
      try (Stream<Path> files = Files.walk(attempts)) {
        if (files.anyMatch(f -> f.toString().contains("/attempt/checkpoint-"))) {
          return;
        }
      } catch (java.io.UncheckedIOException e) {
        // A folder went while we walked; look again.
      }
      Thread.onSpinWait();
    }
    throw new IOException("no snapshot in " + attempts);
  }

  private static ProcessHandle trainerAtWork(Daemon worker) {
    // The spare has used little; the one at work is the one that has used most.
    return worker.children().stream()
        .max(Comparator.comparing(p -> p.info().totalCpuDuration().orElse(Duration.ZERO)))
        .orElseThrow();
  }

  @Test
  void workerKilledWhileTraining() throws Exception {
    cluster.startWorker("second");
    String job =
        submitAndTrain(
            watch -> {
              watch.awaitStep(watch.mark(), 1, LIMIT);
              first.kill();
            });
    assertThat(expectSameEnd(job).get("attempts")).hasSize(2);
  }

  @Test
  void workerKilledWhileCheckpointing() throws Exception {
    String job =
        submitAndTrain(
            watch -> {
              awaitSnapshot(first);
              first.kill();
              cluster.startWorker("second");
            });
    assertThat(expectSameEnd(job).get("attempts")).hasSize(2);
  }

  @Test
  void trainerKilledWhileTraining() throws Exception {
    String job =
        submitAndTrain(
            watch -> {
              watch.awaitStep(watch.mark(), 1, LIMIT);
              trainerAtWork(first).destroyForcibly();
            });
    JsonNode end = expectSameEnd(job);
    assertThat(end.get("attempts")).hasSize(2);
    assertThat(first.isAlive()).isTrue();
  }

  @Test
  void trainerKilledWhileCheckpointing() throws Exception {
    String job =
        submitAndTrain(
            watch -> {
              ProcessHandle trainer = trainerAtWork(first);
              awaitSnapshot(first);
              trainer.destroyForcibly();
            });
    assertThat(expectSameEnd(job).get("attempts")).hasSize(2);
  }

  @Test
  void coordinatorKilledWhileTraining() throws Exception {
    String job =
        submitAndTrain(
            watch -> {
              cluster.coordinator().kill();
              cluster.restartCoordinator();
            });
    assertThat(expectSameEnd(job).get("attempts")).as("it kills no healthy job").hasSize(1);
  }

  @Test
  void coordinatorKilledWhileCheckpointing() throws Exception {
    String job =
        submitAndTrain(
            watch -> {
              awaitSnapshot(first);
              cluster.coordinator().kill();
              cluster.restartCoordinator();
            });
    assertThat(expectSameEnd(job).get("attempts")).hasSize(1);
  }

  @Test
  void coordinatorAwayFor40Seconds() throws Exception {
    String job =
        submitAndTrain(
            watch -> {
              cluster.coordinator().kill();
              Thread.sleep(40_000);
              cluster.restartCoordinator();
            });
    assertThat(expectSameEnd(job).get("attempts")).as("of any length").hasSize(1);
  }

  @Test
  void coordinatorStopsInGoodOrder() throws Exception {
    String job =
        submitAndTrain(
            watch -> {
              assertThat(cluster.coordinator().terminate(Duration.ofSeconds(5))).isIn(0, 143);
              cluster.restartCoordinator();
            });
    assertThat(expectSameEnd(job).get("attempts")).hasSize(1);
  }

  @Test
  void workerTerminatedHandsOverWithoutLosingAStep() throws Exception {
    cluster.startWorker("second");
    String job =
        submitAndTrain(
            watch -> {
              watch.awaitStep(watch.mark(), 1, LIMIT);
              assertThat(first.terminate(Duration.ofSeconds(20))).isIn(0, 143);
            });
    JsonNode end = expectSameEnd(job);
    assertThat(end.get("attempts")).hasSize(2);
    assertThat(end.at("/attempts/1/first_step").asLong())
        .as("no step lost, none done twice")
        .isEqualTo(end.at("/attempts/0/last_step").asLong() + 1);
  }

  @Test
  void workerAndTrainerFrozenFor30SecondsAndWokenAgain() throws Exception {
    cluster.startWorker("second");
    String job =
        submitAndTrain(
            watch -> {
              List<ProcessHandle> trainers = first.children();
              Daemon.signal("STOP", first.pid());
              for (ProcessHandle trainer : trainers) {
                Daemon.signal("STOP", trainer.pid());
              }
              Thread.sleep(30_000);
              for (ProcessHandle trainer : trainers) {
                Daemon.signal("CONT", trainer.pid());
              }
              Daemon.signal("CONT", first.pid());
            });
    JsonNode end = expectSameEnd(job);
    assertThat(end.get("attempts")).hasSize(2);
    assertThat(first.isAlive()).isTrue();
    // And it asks for more.
    Set<String> names = new HashSet<>();
    LocalCluster.JSON
        .readTree(cluster.baton("workers", "-o", "json").orFail())
        .forEach(w -> names.add(w.get("name").asText() + " " + w.get("state").asText()));
    assertThat(names).contains("first ACTIVE");
  }

  @Test
  void daemonFrozenAloneStopsItsTrainerAtTheDeadline() throws Exception {
    cluster.startWorker("second");
    String job =
        submitAndTrain(
            watch -> {
              Daemon.signal("STOP", first.pid());
              Thread.sleep(30_000);
              Daemon.signal("CONT", first.pid());
            });
    assertThat(expectSameEnd(job).get("attempts")).hasSize(2);
  }

  @Test
  void newestCheckpointDamagedBeforeAKill() throws Exception {
    String job =
        submitAndTrain(
            watch -> {
              int mark = watch.mark();
              watch.await(mark, LIMIT, Watch::isCheckpoint);
              watch.await(watch.mark(), LIMIT, Watch::isCheckpoint);
              first.kill();
            });
    JsonNode committed = cluster.show(job).get("checkpoints");
    assertThat(committed).hasSizeGreaterThan(1);
    JsonNode newest = committed.get(committed.size() - 1);
    flipBytes(objectOf(newest.get("sha256").asText()));
    try (Watch watch = Watch.of(cluster, job)) {
      cluster.startWorker("second");
      JsonNode damaged =
          watch.await(0, LIMIT, e -> e.path("event").asText().equals("checkpoint_damaged"));
      assertThat(damaged.path("message").asText()).contains(newest.get("step").asText());
    }
    JsonNode end = expectSameEnd(job);
    assertThat(end.get("attempts")).hasSize(2);
    assertThat(end.at("/attempts/1/first_step").asLong())
        .isEqualTo(committed.get(committed.size() - 2).get("step").asLong() + 1);
  }

  /** The file in the embedded store that has these bytes. */
  private Path objectOf(String sha256) throws Exception {
    try (Stream<Path> files = Files.walk(cluster.objects())) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file));
        if (HexFormat.of().formatHex(digest).equals(sha256)) {
          return file;
        }
      }
    }
    throw new IOException("no object with SHA-256 " + sha256);
  }

  private static void flipBytes(Path file) throws IOException {
    try (RandomAccessFile raf = new RandomAccessFile(file.toFile(), "rw")) {
      long at = raf.length() / 2;
      raf.seek(at);
      int b = raf.read();
      raf.seek(at);
      raf.write(b ^ 0xFF);
    }
  }
}
