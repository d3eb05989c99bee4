package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;

/**
 * Data-parallel replicas on several workers of this machine, lost and added in every way. After
 * each the weights are those of one replica alone, undisturbed, and the losses too.
 */
class GangIT {
  private static final Duration LIMIT = Duration.ofMinutes(4);

  @TempDir static Path shared;
  private static String weights;
  private static String metrics;

  @TempDir Path dir;
  private LocalCluster cluster;

  /** Dropout, four shards; few checkpoints, so that whoever falls back to one is found out. */
  private static String job(int min, int max, int epochs) {
    return """
        name: gang
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
        replicas: {min: %d, max: %d, shards: 4}
        checkpoint: {interval: 1h}
        """
        .formatted(epochs, min, max);
  }

  private static String job() {
    return job(1, 4, 60);
  }

  @BeforeAll
  static void trainAlone() throws Exception {
    DrawDigits.write(shared.resolve("digits"), 1_000, 300, 5);
    try (LocalCluster cluster = clusterWithDigits(shared.resolve("alone"))) {
      cluster.startWorker("alone");
      String job = cluster.submit(job(1, 1, 60));
      JsonNode end = cluster.await(job, LIMIT);
      assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
      weights = end.at("/result/weights_sha256").asText();
      metrics = lossesAndAccuracies(cluster, job);
    }
  }

  private static LocalCluster clusterWithDigits(Path dir) throws Exception {
    LocalCluster cluster = LocalCluster.start(dir);
    cluster
        .baton("dataset", "push", "digits", shared.resolve("digits").toString(), "--format", "idx")
        .orFail();
    return cluster;
  }

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

  @BeforeEach
  void start() throws Exception {
    cluster = clusterWithDigits(dir.resolve("cluster"));
  }

  @AfterEach
  void stop() {
    cluster.close();
  }

  private JsonNode expectSameEnd(String job) throws Exception {
    JsonNode end = cluster.await(job, LIMIT);
    assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
    assertThat(end.at("/result/weights_sha256").asText()).as("%s", end).isEqualTo(weights);
    assertThat(lossesAndAccuracies(cluster, job)).isEqualTo(metrics);
    // No attempt began before the end of the one that it followed: nobody fell back.
    JsonNode attempts = end.get("attempts");
    for (int i = 1; i < attempts.size(); i++) {
      long last = attempts.get(i - 1).get("last_step").asLong(0);
      JsonNode first = attempts.get(i).get("first_step");
      if (!first.isNull()) {
        assertThat(first.asLong()).as("%s", attempts).isGreaterThan(last);
      }
    }
    return end;
  }

  /** Waits for a step of so many replicas; the names of their workers, by rank. */
  private static List<String> awaitReplicas(Watch watch, int mark, int replicas) throws Exception {
    JsonNode event =
        watch.await(mark, LIMIT, e -> Watch.isStep(e) && e.get("workers").size() == replicas);
    List<String> workers = new ArrayList<>();
    event.get("workers").forEach(name -> workers.add(name.asText()));
    return workers;
  }

  private static ProcessHandle trainerAtWork(Daemon worker) {
    // The spare has used little; the one at work is the one that has used most.
    return worker.children().stream()
        .max(Comparator.comparing(p -> p.info().totalCpuDuration().orElse(Duration.ZERO)))
        .orElseThrow();
  }

  /** Seconds until the first step that so many replicas make after a mark. */
  private static double secondsToStep(Watch watch, int mark, int replicas) throws Exception {
    long begin = System.nanoTime();
    awaitReplicas(watch, mark, replicas);
    return (System.nanoTime() - begin) / 1e9;
  }

  @Test
  void everyRankLosesItsTrainerInTurn() throws Exception {
    for (int i = 0; i < 4; i++) {
      cluster.startWorker("w" + i);
    }
    String job = cluster.submit(job());
    try (Watch watch = Watch.of(cluster, job)) {
      for (int rank = 0; rank < 4; rank++) {
        List<String> workers = awaitReplicas(watch, watch.mark(), 4);
        Daemon worker = cluster.worker(workers.get(rank));
        int mark = watch.mark();
        trainerAtWork(worker).destroyForcibly();
        System.out.printf(
            "trainer of rank %d killed: the others step after %.2f s%n",
            rank, secondsToStep(watch, mark, 3));
      }
    }
    JsonNode end = expectSameEnd(job);
    assertThat(end.get("attempts").size()).isGreaterThan(8);
  }

  @EnabledIfSystemProperty(named = "baton.test.long", matches = "true")
  @Test
  void everyRankLosesItsWorkerInTurn() throws Exception {
    for (int i = 0; i < 3; i++) {
      cluster.startWorker("w" + i);
    }
    String job = cluster.submit(job(2, 3, 60));
    try (Watch watch = Watch.of(cluster, job)) {
      for (int rank = 0; rank < 3; rank++) {
        List<String> workers = awaitReplicas(watch, watch.mark(), 3);
        int mark = watch.mark();
        cluster.worker(workers.get(rank)).kill();
        System.out.printf(
            "worker of rank %d killed: the others step after %.2f s%n",
            rank, secondsToStep(watch, mark, 2));
        Daemon joiner = cluster.startWorker("w" + (3 + rank));
        System.out.printf(
            "%s is ready: it steps after %.2f s%n",
            joiner.name(), secondsToStep(watch, watch.mark(), 3));
      }
    }
    expectSameEnd(job);
  }

  @Test
  void oneFourTwoThreeOne() throws Exception {
    cluster.startWorker("w0");
    String job = cluster.submit(job());
    try (Watch watch = Watch.of(cluster, job)) {
      awaitReplicas(watch, 0, 1);
      for (int i = 1; i < 4; i++) {
        cluster.startWorker("w" + i);
      }
      List<String> four = awaitReplicas(watch, watch.mark(), 4);
      int mark = watch.mark();
      cluster.worker(four.get(0)).kill();
      cluster.worker(four.get(2)).kill();
      List<String> two = awaitReplicas(watch, mark, 2);
      mark = watch.mark();
      cluster.startWorker("w4");
      List<String> three = awaitReplicas(watch, mark, 3);
      assertThat(three).containsAll(two).contains("w4");
      // Two leave with notice.
      mark = watch.mark();
      assertThat(cluster.worker(three.get(0)).terminate(Duration.ofSeconds(30))).isZero();
      assertThat(cluster.worker(three.get(1)).terminate(Duration.ofSeconds(30))).isZero();
      assertThat(awaitReplicas(watch, mark, 1)).containsExactly("w4");
    }
    expectSameEnd(job);
  }

  @EnabledIfSystemProperty(named = "baton.test.long", matches = "true")
  @Test
  void rankZeroKilledWhileItStoresACheckpoint() throws Exception {
    for (int i = 0; i < 3; i++) {
      cluster.startWorker("w" + i);
    }
    String job = cluster.submit(job(1, 3, 60).replace("interval: 1h", "interval: 500ms"));
    try (Watch watch = Watch.of(cluster, job)) {
      List<String> workers = awaitReplicas(watch, 0, 3);
      Daemon zero = cluster.worker(workers.get(0));
      awaitSnapshot(zero);
      int mark = watch.mark();
      zero.kill();
      awaitReplicas(watch, mark, 2);
    }
    expectSameEnd(job);
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
    throw new AssertionError("no snapshot in " + attempts);
  }

  @Test
  void twoRanksOnOneWorker() throws Exception {
    cluster.startWorker("both", "--slots", "2");
    String job = cluster.submit(job(2, 2, 60));
    try (Watch watch = Watch.of(cluster, job)) {
      assertThat(awaitReplicas(watch, 0, 2)).containsExactly("both", "both");
    }
    expectSameEnd(job);
  }

  @EnabledIfSystemProperty(named = "baton.test.long", matches = "true")
  @Test
  void aReplicaThatIsTenTimesSlowerIsNamedAndKept() throws Exception {
    for (int i = 0; i < 2; i++) {
      cluster.startWorker("w" + i);
    }
    String job = cluster.submit(job(2, 2, 60));
    try (Watch watch = Watch.of(cluster, job)) {
      List<String> workers = awaitReplicas(watch, 0, 2);
      ProcessHandle slow = trainerAtWork(cluster.worker(workers.get(1)));
      JsonNode named = cluster.show(job).get("progress");
      for (int i = 0; i < 100; i++) {
        Daemon.signal("STOP", slow.pid());
        TimeUnit.MILLISECONDS.sleep(90);
        Daemon.signal("CONT", slow.pid());
        TimeUnit.MILLISECONDS.sleep(10);
        if (i % 20 == 19) {
          named = cluster.show(job).get("progress");
        }
      }
      assertThat(named).isNotNull();
      assertThat(named.path("slowest_rank").asInt(-1)).as("%s", named).isEqualTo(1);
      assertThat(named.path("replicas")).hasSize(2);
    }
    assertThat(expectSameEnd(job).get("attempts")).as("slow is not dead").hasSize(1);
  }

  @EnabledIfSystemProperty(named = "baton.test.long", matches = "true")
  @Test
  void coordinatorRestartsUnderAGang() throws Exception {
    for (int i = 0; i < 3; i++) {
      cluster.startWorker("w" + i);
    }
    String job = cluster.submit(job(1, 3, 60));
    try (Watch watch = Watch.of(cluster, job)) {
      awaitReplicas(watch, 0, 3);
      cluster.coordinator().kill();
      TimeUnit.SECONDS.sleep(5);
      cluster.restartCoordinator();
    }
    assertThat(expectSameEnd(job).get("attempts")).as("no group changes").hasSize(1);
  }

  @EnabledIfSystemProperty(named = "baton.test.long", matches = "true")
  @Test
  void aGangThatLosesTooManyFallsBackToItsCheckpoint() throws Exception {
    for (int i = 0; i < 2; i++) {
      cluster.startWorker("w" + i);
    }
    String job = cluster.submit(job(2, 2, 60).replace("interval: 1h", "interval: 500ms"));
    try (Watch watch = Watch.of(cluster, job)) {
      List<String> workers = awaitReplicas(watch, 0, 2);
      watch.await(watch.mark(), LIMIT, Watch::isCheckpoint);
      cluster.worker(workers.get(1)).kill();
      String why = "";
      for (long end = System.nanoTime() + LIMIT.toNanos();
          !why.contains("2 replicas") && System.nanoTime() < end;
          why = cluster.baton("show", job, "--why").orFail()) {
        TimeUnit.MILLISECONDS.sleep(300);
      }
      assertThat(why).contains("2 replicas");
      cluster.startWorker("w2");
    }
    JsonNode end = cluster.await(job, LIMIT);
    assertThat(end.at("/result/weights_sha256").asText()).as("%s", end).isEqualTo(weights);
    assertThat(lossesAndAccuracies(cluster, job)).isEqualTo(metrics);
  }
}
