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
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Workers that know when they go: by the machine's end, a cloud's notice, idleness, the hours of
 * the day. No step is lost, none is done twice, and the weights are those of an undisturbed run.
 */
class WorkerLeavingIT {
  private static final Duration LIMIT = DigitsJob.LIMIT;
  private static final Duration CHECKPOINTS = Duration.ofMillis(300);
  private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("HH:mm:ss");

  @TempDir static Path shared;
  private static LocalCluster cluster;
  private static DigitsJob digits;

  @TempDir Path dir;

  @BeforeAll
  static void trainUndisturbed() throws Exception {
    Path config =
        Files.writeString(
            shared.resolve("coordinator.yaml"), "lease: {heartbeat: 1s, lease: 5s}\n");
    cluster =
        LocalCluster.start(shared.resolve("cluster"), "127.0.0.1", "--config", config.toString());
    digits = DigitsJob.train(cluster, 8, 1);
  }

  @AfterAll
  static void stop() {
    cluster.close();
  }

  @AfterEach
  void leaveNothing() throws Exception {
    cluster.haveWorkers(0);
    for (JsonNode job : LocalCluster.JSON.readTree(cluster.baton("jobs", "-o", "json").orFail())) {
      if (Set.of("QUEUED", "RUNNING").contains(job.get("state").asText())) {
        cluster.baton("cancel", job.get("id").asText()).orFail();
      }
    }
  }

  private static String submit() throws Exception {
    return digits.submit(cluster, 1, 1, CHECKPOINTS);
  }

  private JsonNode expectSameEnd(String job, String... workers) throws Exception {
    JsonNode end = digits.expectSameEnd(cluster, job);
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

  /** Has a job last until its trainer is thawed, however fast the machine is. */
  private static ProcessHandle freezeTrainer(Daemon worker) throws Exception {
    ProcessHandle trainer = Trainers.atWork(worker);
    Daemon.signal("STOP", trainer.pid());
    return trainer;
  }

  private static void thawAt(long nanos, ProcessHandle trainer) throws Exception {
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
    String job = submit();
    long started = System.nanoTime();
    Duration life = Duration.ofSeconds(50);
    Path ran = dir.resolve("ran");
    Daemon first =
        cluster.startWorker(
            "rented", "--ends-in", "50s", "--on-exit", "echo $BATON_EXIT_REASON > " + ran);
    awaitCheckpoint(job);
    ProcessHandle trainer = freezeTrainer(first);
    // Not offered to who ends before long.
    String another = submit();
    // It leaves 15 s before the end.
    thawAt(started + Duration.ofSeconds(37).toNanos(), trainer);
    assertThat(first.awaitExit(life)).isZero();
    assertThat(System.nanoTime() - started).isLessThan(life.toNanos());
    assertThat(ran).hasContent("end");
    assertThat(log(first)).contains("no more jobs: its machine ends at", "leaving (end)");
    assertThat(cluster.show(another).get("attempts")).isEmpty();
    cluster.startWorker("next");
    expectSameEnd(job, "rented", "next");
  }

  @Test
  void cloudsThatTakeMachinesBackAreHeard() throws Exception {
    String job = submit();
    for (Cloud cloud : Cloud.values()) {
      try (MetadataService service = new MetadataService(cloud)) {
        Daemon worker = cluster.startWorker(cloud.name(), "--metadata-service", service.url());
        try (Watch watch = Watch.of(cluster, job)) {
          watch.awaitStep(0, 1, LIMIT);
        }
        ProcessHandle trainer = freezeTrainer(worker);
        service.takeBack();
        // When it must have heard of it.
        thawAt(System.nanoTime() + Duration.ofSeconds(7).toNanos(), trainer);
        assertThat(worker.awaitExit(Duration.ofSeconds(30))).isZero();
        assertThat(log(worker)).contains("leaving (spot)").doesNotContain("cannot be asked");
      }
    }
    cluster.startWorker("own");
    expectSameEnd(job, "AWS", "GCP", "AZURE", "own");
  }

  @Test
  void anIdleWorkerEndsAndRunsItsCommand() throws Exception {
    String job = submit();
    Path ran = dir.resolve("ran");
    Daemon worker =
        cluster.startWorker(
            "idler", "--idle-exit", "10s", "--on-exit", "echo $BATON_EXIT_REASON > " + ran);
    JsonNode end = cluster.await(job, LIMIT);
    assertThat(worker.isAlive()).isTrue();
    assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
    assertThat(worker.awaitExit(Duration.ofSeconds(30))).isZero();
    assertThat(ran).hasContent("idle");
    assertThat(state("idler")).isEqualTo("GONE");
  }

  @Test
  void outsideItsHoursAWorkerRestsAndThenGoesOn() throws Exception {
    String job = submit();
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
    thawAt(started + Duration.ofSeconds(42).toNanos(), freezeTrainer(worker));
    // It leaves the memory to others.
    for (long end = System.nanoTime() + LIMIT.toNanos();
        !log(worker).contains("no more jobs, no trainer: outside its hours")
            || !worker.children().isEmpty();
        Thread.sleep(100)) {
      assertThat(log(worker)).doesNotContain("takes jobs again");
      assertThat(System.nanoTime()).as(log(worker)).isLessThan(end);
    }
    assertThat(state("pc")).isEqualTo("DRAINING");
    assertThat(cluster.show(job).get("state").asText()).isEqualTo("QUEUED");
    JsonNode end = expectSameEnd(job, "pc", "pc");
    assertThat(end.at("/attempts/0/end_reason").asText()).contains("outside its hours");
    assertThat(state("pc")).isEqualTo("ACTIVE");
  }

  @Test
  void whoWasSuspendedAsksForMore() throws Exception {
    String job = submit();
    Daemon notebook = cluster.startWorker("notebook", "--idle-exit", "12s");
    awaitCheckpoint(job);
    List<ProcessHandle> all =
        Stream.concat(notebook.children().stream(), ProcessHandle.of(notebook.pid()).stream())
            .toList();
    for (ProcessHandle process : all) {
      Daemon.signal("STOP", process.pid());
    }
    // Its lease ends, and as long as nobody sees it, it is idle.
    Thread.sleep(16_000);
    for (ProcessHandle process : all) {
      Daemon.signal("CONT", process.pid());
    }
    digits.expectSameEnd(cluster, job);
    // Suspended once more, with nothing to do.
    Daemon.signal("STOP", notebook.pid());
    Thread.sleep(16_000);
    Daemon.signal("CONT", notebook.pid());
    digits.expectSameEnd(cluster, submit());
    assertThat(notebook.isAlive()).isTrue();
  }
}
