package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import dev.baton.deploy.MetadataService.Cloud;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.LocalTime;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;

/**
 * Workers that know when they go: by the machine's end, a cloud's notice, idleness, the hours of
 * the day. No step is lost, none is done twice, and the weights are those of an undisturbed run.
 */
@EnabledIfSystemProperty(named = "baton.test.long", matches = "true")
class EndingIT {
  private static final Duration LIMIT = Duration.ofMinutes(4);
  private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("HH:mm:ss");

  @TempDir static Path shared;
  private static String weights;

  @TempDir Path dir;
  private LocalCluster cluster;

  private static String job(int epochs) {
    return """
        name: ending
        model: {builtin: {name: mnist-cnn, num_classes: 10}}
        data:
          train: {dataset: digits, split: train}
          transforms: [{normalize: {mean: [0.2], std: [0.3]}}]
        training:
          epochs: %d
          batch_size: 32
          optimizer: {sgd: {lr: 0.02, momentum: 0.9}}
          loss: cross_entropy
          seed: 3
        checkpoint: {interval: 300ms}
        """
        .formatted(epochs);
  }

  @BeforeAll
  static void trainUndisturbed() throws Exception {
    DrawDigits.write(shared.resolve("digits"), 1_000, 100, 5);
    try (LocalCluster cluster = clusterWithDigits(shared.resolve("undisturbed"))) {
      cluster.startWorker("alone");
      weights = succeeded(cluster, cluster.submit(job(8))).at("/result/weights_sha256").asText();
    }
  }

  private static LocalCluster clusterWithDigits(Path dir) throws Exception {
    LocalCluster cluster = LocalCluster.start(dir);
    cluster
        .baton("dataset", "push", "digits", shared.resolve("digits").toString(), "--format", "idx")
        .orFail();
    return cluster;
  }

  private static JsonNode succeeded(LocalCluster cluster, String job) throws Exception {
    JsonNode end = cluster.await(job, LIMIT);
    assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
    return end;
  }

  @BeforeEach
  void start() throws Exception {
    cluster = clusterWithDigits(dir.resolve("cluster"));
  }

  @AfterEach
  void stop() {
    cluster.close();
  }

  private JsonNode expectSameEnd(String job, String... workers) throws Exception {
    JsonNode end = succeeded(cluster, job);
    assertThat(end.at("/result/weights_sha256").asText()).as("%s", end).isEqualTo(weights);
    // A lease may have been given back before its first step, on a busy machine.
    List<JsonNode> attempts = new ArrayList<>();
    end.get("attempts")
        .forEach(
            attempt -> {
              if (!attempt.path("first_step").isNull()) {
                attempts.add(attempt);
              }
            });
    assertThat(attempts.stream().map(attempt -> attempt.at("/workers/0").asText()))
        .as("%s", end)
        .containsExactly(workers);
    for (int i = 1; i < workers.length; i++) {
      assertThat(attempts.get(i).get("first_step").asLong())
          .as("no step lost, none done twice: %s", attempts)
          .isEqualTo(attempts.get(i - 1).get("last_step").asLong() + 1);
    }
    return end;
  }

  private void awaitCheckpoint(String job) throws Exception {
    try (Watch watch = Watch.of(cluster, job)) {
      watch.await(0, LIMIT, Watch::isCheckpoint);
    }
  }

  /** Has a job last until a time, however fast the machine is. */
  private static void freezeTrainerUntil(Daemon worker, long nanos) throws Exception {
    ProcessHandle trainer =
        worker.children().stream()
            .max(Comparator.comparing(p -> p.info().totalCpuDuration().orElse(Duration.ZERO)))
            .orElseThrow();
    Daemon.signal("STOP", trainer.pid());
    Thread.sleep(Math.max(0, (nanos - System.nanoTime()) / 1_000_000));
    Daemon.signal("CONT", trainer.pid());
  }

  private String state(String worker) throws Exception {
    for (JsonNode found :
        LocalCluster.JSON.readTree(cluster.baton("workers", "-o", "json").orFail())) {
      if (found.get("name").asText().equals(worker)) {
        return found.get("state").asText();
      }
    }
    return "GONE";
  }

  private String log(Daemon worker) throws IOException {
    return Files.readString(cluster.dir().resolve(worker.name()).resolve("worker.log"));
  }

  @Test
  void jobsAreHandedOverBeforeTheMachineEnds() throws Exception {
    String job = cluster.submit(job(8));
    long started = System.nanoTime();
    Duration life = Duration.ofSeconds(75);
    Path ran = dir.resolve("ran");
    Daemon first =
        cluster.startWorker(
            "first", "--ends-in", "75s", "--on-exit", "echo $BATON_EXIT_REASON > " + ran);
    awaitCheckpoint(job);
    freezeTrainerUntil(first, started + Duration.ofSeconds(57).toNanos());
    // Not offered to who ends before long.
    String another = cluster.submit(job(1));
    assertThat(first.awaitExit(life)).isZero();
    assertThat(System.nanoTime() - started).isLessThan(life.toNanos());
    assertThat(ran).hasContent("end");
    assertThat(log(first)).contains("no more jobs: its machine ends at", "leaving (end)");
    assertThat(cluster.show(another).get("attempts")).isEmpty();
    cluster.startWorker("second");
    expectSameEnd(job, "first", "second");
  }

  @Test
  void cloudsThatTakeMachinesBackAreHeard() throws Exception {
    String job = cluster.submit(job(8));
    for (Cloud cloud : Cloud.values()) {
      try (MetadataService service = new MetadataService(cloud)) {
        Daemon worker = cluster.startWorker(cloud.name(), "--metadata-service", service.url());
        try (Watch watch = Watch.of(cluster, job)) {
          watch.awaitStep(0, 1, LIMIT);
        }
        service.takeBack();
        // Until it must have heard of it.
        freezeTrainerUntil(worker, System.nanoTime() + Duration.ofSeconds(7).toNanos());
        assertThat(worker.awaitExit(Duration.ofSeconds(30))).isZero();
        assertThat(log(worker)).contains("leaving (spot)").doesNotContain("cannot be asked");
      }
    }
    cluster.startWorker("own");
    expectSameEnd(job, "AWS", "GCP", "AZURE", "own");
  }

  @Test
  void anIdleWorkerEndsAndRunsItsCommand() throws Exception {
    String job = cluster.submit(job(1));
    Path ran = dir.resolve("ran");
    Daemon worker =
        cluster.startWorker(
            "first", "--idle-exit", "10s", "--on-exit", "echo $BATON_EXIT_REASON > " + ran);
    succeeded(cluster, job);
    assertThat(worker.isAlive()).isTrue();
    assertThat(worker.awaitExit(Duration.ofSeconds(30))).isZero();
    assertThat(ran).hasContent("idle");
    assertThat(state("first")).isEqualTo("GONE");
  }

  @Test
  void outsideItsHoursAWorkerRestsAndThenGoesOn() throws Exception {
    String job = cluster.submit(job(8));
    long started = System.nanoTime();
    LocalTime now = LocalTime.now(ZoneId.systemDefault());
    String hours =
        "%s-%s,%s-%s"
            .formatted(
                TIME.format(now.minusHours(1)),
                TIME.format(now.plusSeconds(40)),
                TIME.format(now.plusSeconds(65)),
                TIME.format(now.plusHours(1)));
    Daemon worker = cluster.startWorker("pc", "--hours", hours);
    awaitCheckpoint(job);
    freezeTrainerUntil(worker, started + Duration.ofSeconds(37).toNanos());
    // It leaves the memory to others.
    while (!log(worker).contains("no more jobs: outside its hours")
        || !worker.children().isEmpty()) {
      assertThat(log(worker)).doesNotContain("takes jobs again");
      Thread.sleep(100);
    }
    assertThat(state("pc")).isEqualTo("DRAINING");
    assertThat(cluster.show(job).get("state").asText()).isEqualTo("QUEUED");
    JsonNode end = expectSameEnd(job, "pc", "pc");
    assertThat(end.at("/attempts/0/end_reason").asText()).contains("outside its hours");
    assertThat(state("pc")).isEqualTo("ACTIVE");
  }

  @Test
  void whoWasSuspendedAsksForMore() throws Exception {
    String job = cluster.submit(job(8));
    Daemon notebook = cluster.startWorker("notebook", "--idle-exit", "20s");
    awaitCheckpoint(job);
    List<ProcessHandle> all =
        Stream.concat(notebook.children().stream(), ProcessHandle.of(notebook.pid()).stream())
            .toList();
    for (ProcessHandle process : all) {
      Daemon.signal("STOP", process.pid());
    }
    // Its lease ends, and as long as nobody sees it, it is idle.
    Thread.sleep(30_000);
    for (ProcessHandle process : all) {
      Daemon.signal("CONT", process.pid());
    }
    JsonNode end = succeeded(cluster, job);
    assertThat(end.at("/result/weights_sha256").asText()).isEqualTo(weights);
    // Suspended once more, with nothing to do.
    Daemon.signal("STOP", notebook.pid());
    Thread.sleep(30_000);
    Daemon.signal("CONT", notebook.pid());
    succeeded(cluster, cluster.submit(job(1)));
    assertThat(notebook.isAlive()).isTrue();
  }
}
