package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Every way to lose a worker, a trainer or the coordinator, with real processes. After each the job
 * SUCCEEDS with the weights of an undisturbed run, and with its metrics.
 */
class PreemptionIT {
  private static final Duration LIMIT = DigitsJob.LIMIT;

  /** Short, so that leases end and outages of several of them pass while a short job trains. */
  private static final Duration LEASE = Duration.ofSeconds(5);

  @TempDir static Path shared;
  private static LocalCluster cluster;
  private static DigitsJob digits;

  /** Of the job that is disturbed; empty where it came to its end. */
  private String job = "";

  @BeforeAll
  static void trainUndisturbed() throws Exception {
    Path config =
        Files.writeString(
            shared.resolve("coordinator.yaml"),
            "lease: {heartbeat: 1s, lease: %ds}\n".formatted(LEASE.toSeconds()));
    cluster =
        LocalCluster.start(shared.resolve("cluster"), "127.0.0.1", "--config", config.toString());
    digits = DigitsJob.train(cluster, 20, 2);
  }

  @AfterAll
  static void stop() {
    cluster.close();
  }

  @AfterEach
  void leaveNothing() throws Exception {
    if (!job.isEmpty()) {
      cluster.baton("cancel", job);
      cluster.haveWorkers(0);
    }
  }

  private JsonNode expectSameEnd() throws Exception {
    JsonNode end = digits.expectSameEnd(cluster, job);
    digits.expectSameModel(cluster, job);
    job = "";
    return end;
  }

  @FunctionalInterface
  private interface Disturbance {
    void by(Watch watch, Daemon first) throws Exception;
  }

  /** Disturbs a job that trains on one of so many workers and has a checkpoint. */
  private JsonNode disturb(int workers, Disturbance disturbance) throws Exception {
    cluster.haveWorkers(workers);
    job = digits.submit(cluster, 1, 1, Duration.ofMillis(500));
    try (Watch watch = Watch.of(cluster, job)) {
      Daemon first = cluster.worker(watch.awaitReplicas(0, 1, LIMIT).get(0));
      watch.await(0, LIMIT, Watch::isCheckpoint);
      disturbance.by(watch, first);
    }
    return expectSameEnd();
  }

  @Test
  void workerKilledWhileTraining() throws Exception {
    JsonNode end =
        disturb(
            2,
            (watch, first) -> {
              watch.awaitStep(watch.mark(), 1, LIMIT);
              first.kill();
            });
    assertThat(end.get("attempts")).hasSize(2);
  }

  @Test
  void workerKilledWhileCheckpointing() throws Exception {
    JsonNode end =
        disturb(
            1,
            (watch, first) -> {
              Trainers.awaitSnapshot(cluster, first);
              first.kill();
              cluster.haveWorkers(1);
            });
    assertThat(end.get("attempts")).hasSize(2);
  }

  @Test
  void trainerKilledWhileTraining() throws Exception {
    JsonNode end =
        disturb(
            1,
            (watch, first) -> {
              watch.awaitStep(watch.mark(), 1, LIMIT);
              Trainers.atWork(first).destroyForcibly();
            });
    assertThat(end.get("attempts")).hasSize(2);
    assertThat(end.at("/attempts/1/workers")).isEqualTo(end.at("/attempts/0/workers"));
  }

  @Test
  void trainerKilledWhileCheckpointing() throws Exception {
    JsonNode end =
        disturb(
            1,
            (watch, first) -> {
              ProcessHandle trainer = Trainers.atWork(first);
              Trainers.awaitSnapshot(cluster, first);
              trainer.destroyForcibly();
            });
    assertThat(end.get("attempts")).hasSize(2);
  }

  @FunctionalInterface
  private interface Loss {
    void happen(Daemon worker) throws Exception;
  }

  /** Has the coordinator end while a job trains, and starts it again: the same attempt goes on. */
  private void loseCoordinator(Loss loss) throws Exception {
    JsonNode end =
        disturb(
            1,
            (watch, first) -> {
              loss.happen(first);
              cluster.restartCoordinator();
            });
    assertThat(end.get("attempts")).as("it kills no healthy job").hasSize(1);
  }

  @Test
  void coordinatorKilledWhileTraining() throws Exception {
    loseCoordinator(worker -> cluster.coordinator().kill());
  }

  @Test
  void coordinatorKilledWhileCheckpointing() throws Exception {
    loseCoordinator(
        worker -> {
          Trainers.awaitSnapshot(cluster, worker);
          cluster.coordinator().kill();
        });
  }

  @Test
  void coordinatorAwayForThreeLeases() throws Exception {
    loseCoordinator(
        worker -> {
          cluster.coordinator().kill();
          Thread.sleep(LEASE.multipliedBy(3).toMillis());
        });
  }

  @Test
  void coordinatorStopsInGoodOrder() throws Exception {
    loseCoordinator(
        worker -> assertThat(cluster.coordinator().terminate(Duration.ofSeconds(5))).isIn(0, 143));
  }

  @Test
  void workerTerminatedHandsOverWithoutLosingAStep() throws Exception {
    JsonNode end =
        disturb(
            2,
            (watch, first) -> {
              watch.awaitStep(watch.mark(), 1, LIMIT);
              assertThat(first.terminate(Duration.ofSeconds(20))).isIn(0, 143);
            });
    assertThat(end.get("attempts")).hasSize(2);
    assertThat(end.at("/attempts/1/first_step").asLong())
        .as("no step lost, none done twice")
        .isEqualTo(end.at("/attempts/0/last_step").asLong() + 1);
  }

  /** Lets what is stopped sleep until another worker has the job and trains it. */
  private static void awaitOther(Watch watch, int mark, Daemon first) throws Exception {
    watch.await(
        mark,
        LIMIT,
        e -> Watch.isStep(e) && !e.get("workers").toString().contains('"' + first.name() + '"'));
  }

  @Test
  void workerAndTrainerFrozenAndWokenWhileAnotherHasTheirJob() throws Exception {
    JsonNode end =
        disturb(
            2,
            (watch, first) -> {
              List<ProcessHandle> trainers = first.children();
              Daemon.signal("STOP", first.pid());
              for (ProcessHandle trainer : trainers) {
                Daemon.signal("STOP", trainer.pid());
              }
              awaitOther(watch, watch.mark(), first);
              for (ProcessHandle trainer : trainers) {
                Daemon.signal("CONT", trainer.pid());
              }
              Daemon.signal("CONT", first.pid());
            });
    assertThat(end.get("attempts")).hasSize(2);
    String woken = end.at("/attempts/0/workers/0").asText();
    assertThat(cluster.worker(woken).isAlive()).isTrue();
    // And it asks for more.
    Set<String> names = new HashSet<>();
    LocalCluster.JSON
        .readTree(cluster.baton("workers", "-o", "json").orFail())
        .forEach(w -> names.add(w.get("name").asText() + " " + w.get("state").asText()));
    assertThat(names).contains(woken + " ACTIVE");
  }

  @Test
  void daemonFrozenAloneStopsItsTrainerAtTheDeadline() throws Exception {
    JsonNode end =
        disturb(
            2,
            (watch, first) -> {
              Daemon.signal("STOP", first.pid());
              awaitOther(watch, watch.mark(), first);
              Daemon.signal("CONT", first.pid());
            });
    assertThat(end.get("attempts")).hasSize(2);
  }

  @Test
  void newestCheckpointDamagedBeforeAKill() throws Exception {
    Daemon first = cluster.haveWorkers(1).get(0);
    job = digits.submit(cluster, 1, 1, Duration.ofMillis(500));
    try (Watch watch = Watch.of(cluster, job)) {
      for (int i = 0, mark = 0; i < 3; i++, mark = watch.mark()) {
        watch.await(mark, LIMIT, Watch::isCheckpoint);
      }
      first.kill();
    }
    JsonNode committed = cluster.show(job).get("checkpoints");
    assertThat(committed).hasSizeGreaterThan(1);
    JsonNode newest = committed.get(committed.size() - 1);
    flipBytes(objectOf(newest.get("sha256").asText()));
    try (Watch watch = Watch.of(cluster, job)) {
      cluster.haveWorkers(1);
      JsonNode damaged =
          watch.await(0, LIMIT, e -> e.path("event").asText().equals("checkpoint_damaged"));
      assertThat(damaged.path("message").asText()).contains(newest.get("step").asText());
    }
    JsonNode end = expectSameEnd();
    assertThat(end.get("attempts")).hasSize(2);
    assertThat(end.at("/attempts/1/first_step").asLong())
        .isEqualTo(committed.get(committed.size() - 2).get("step").asLong() + 1);
  }

  /** The file in the embedded store that has these bytes. */
  private static Path objectOf(String sha256) throws Exception {
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
