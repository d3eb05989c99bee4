package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Data-parallel replicas on several workers of this machine, lost and added in every way. After
 * each the weights are those of one replica alone, undisturbed, and the losses too.
 */
class ReplicasIT {
  private static final Duration LIMIT = DigitsJob.LIMIT;

  /** So that whoever falls back to a checkpoint is found out. */
  private static final Duration NO_CHECKPOINT = Duration.ofHours(1);

  private static final Duration CHECKPOINTS = Duration.ofMillis(500);

  @TempDir static Path shared;
  private static LocalCluster cluster;

  /** Lasts for one change of the gang. */
  private static DigitsJob brief;

  /** Lasts for several, each with a replica that comes. */
  private static DigitsJob lasting;

  /** The one that trains; empty where it came to its end. */
  private String job = "";

  @BeforeAll
  static void trainAlone() throws Exception {
    cluster = LocalCluster.start(shared.resolve("cluster"));
    brief = DigitsJob.train(cluster, 20, 4);
    lasting = DigitsJob.train(cluster, 70, 4);
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

  private JsonNode expectSameEnd(DigitsJob digits) throws Exception {
    JsonNode end = digits.expectSameEnd(cluster, job);
    job = "";
    return end;
  }

  /** No attempt began before the end of the one that it followed: nobody fell back. */
  private JsonNode expectNoStepTwice(DigitsJob digits) throws Exception {
    JsonNode end = expectSameEnd(digits);
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

  /** Seconds until the first step that so many replicas make after a mark. */
  private static double secondsToStep(Watch watch, int mark, int replicas) throws Exception {
    long begin = System.nanoTime();
    watch.awaitReplicas(mark, replicas, LIMIT);
    return (System.nanoTime() - begin) / 1e9;
  }

  @Test
  void everyRankLosesItsTrainerWhileItComputesAndWhileItWaits() throws Exception {
    cluster.haveWorkers(4);
    job = lasting.submit(cluster, 1, 4, NO_CHECKPOINT);
    try (Watch watch = Watch.of(cluster, job)) {
      for (int rank = 0; rank < 4; rank++) {
        int other = (rank + 1) % 4;
        List<String> workers = watch.awaitReplicas(watch.mark(), 4, LIMIT);
        int mark = watch.mark();
        Trainers.kill(
            Trainers.atWork(cluster.worker(workers.get(rank))),
            Trainers.atWork(cluster.worker(workers.get(other))));
        System.out.printf(
            "trainers killed of rank %d, that computes, and %d, that waits: the others step after"
                + " %.2f s%n",
            rank, other, secondsToStep(watch, mark, 2));
      }
    }
    JsonNode end = expectNoStepTwice(lasting);
    assertThat(end.get("attempts").size()).isGreaterThanOrEqualTo(8);
  }

  @Test
  void everyRankLosesItsWorkerWhileACheckpointIsStored() throws Exception {
    cluster.haveWorkers(3);
    job = lasting.submit(cluster, 2, 3, CHECKPOINTS);
    try (Watch watch = Watch.of(cluster, job)) {
      for (int rank = 0; rank < 3; rank++) {
        List<String> workers = watch.awaitReplicas(watch.mark(), 3, LIMIT);
        Trainers.awaitSnapshot(cluster, cluster.worker(workers.get(0)));
        int mark = watch.mark();
        cluster.worker(workers.get(rank)).kill();
        System.out.printf(
            "worker of rank %d killed: the others step after %.2f s%n",
            rank, secondsToStep(watch, mark, 2));
        cluster.haveWorkers(3);
        System.out.printf(
            "another one is ready: it steps after %.2f s%n", secondsToStep(watch, watch.mark(), 3));
      }
    }
    expectNoStepTwice(lasting);
  }

  @Test
  void oneFourTwoThreeOne() throws Exception {
    cluster.haveWorkers(1);
    job = lasting.submit(cluster, 1, 4, NO_CHECKPOINT);
    try (Watch watch = Watch.of(cluster, job)) {
      watch.awaitReplicas(0, 1, LIMIT);
      cluster.haveWorkers(4);
      List<String> four = watch.awaitReplicas(watch.mark(), 4, LIMIT);
      int mark = watch.mark();
      cluster.worker(four.get(0)).kill();
      cluster.worker(four.get(2)).kill();
      List<String> two = watch.awaitReplicas(mark, 2, LIMIT);
      mark = watch.mark();
      String joiner = cluster.haveWorkers(3).get(2).name();
      List<String> three = watch.awaitReplicas(mark, 3, LIMIT);
      assertThat(three).containsAll(two).contains(joiner);
      // Two leave with notice.
      mark = watch.mark();
      for (String leaver : two) {
        assertThat(cluster.worker(leaver).terminate(Duration.ofSeconds(30))).isZero();
      }
      assertThat(watch.awaitReplicas(mark, 1, LIMIT)).containsExactly(joiner);
    }
    expectNoStepTwice(lasting);
  }

  @Test
  void twoRanksOnOneWorker() throws Exception {
    cluster.haveWorkers(0);
    try (Daemon both = cluster.startWorker("both", "--slots", "2")) {
      job = brief.submit(cluster, 2, 2, NO_CHECKPOINT);
      try (Watch watch = Watch.of(cluster, job)) {
        assertThat(watch.awaitReplicas(0, 2, LIMIT)).containsExactly(both.name(), both.name());
      }
      expectNoStepTwice(brief);
    }
  }

  @Test
  void aReplicaThatIsTenTimesSlowerIsNamedAndKept() throws Exception {
    cluster.haveWorkers(2);
    job = brief.submit(cluster, 2, 2, NO_CHECKPOINT);
    try (Watch watch = Watch.of(cluster, job)) {
      List<String> workers = watch.awaitReplicas(0, 2, LIMIT);
      ProcessHandle slow = Trainers.atWork(cluster.worker(workers.get(1)));
      Thread slowing = new Thread(() -> slowDown(slow), "slowing");
      slowing.start();
      JsonNode named;
      try {
        int looks = 0;
        do {
          named = cluster.show(job).get("progress");
        } while (named.path("slowest_rank").asInt(-1) != 1 && ++looks < 15);
      } finally {
        slowing.interrupt();
        slowing.join();
      }
      assertThat(named.path("slowest_rank").asInt(-1)).as("%s", named).isEqualTo(1);
      assertThat(named.path("replicas")).hasSize(2);
    }
    assertThat(expectNoStepTwice(brief).get("attempts")).as("slow is not dead").hasSize(1);
  }

  /** Nine tenths of the time it stands still, until this thread is interrupted. */
  private static void slowDown(ProcessHandle trainer) {
    try {
      while (true) {
        Daemon.signal("STOP", trainer.pid());
        try {
          TimeUnit.MILLISECONDS.sleep(90);
        } finally {
          Daemon.signal("CONT", trainer.pid());
        }
        TimeUnit.MILLISECONDS.sleep(10);
      }
    } catch (InterruptedException e) {
      // Slow for long enough.
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void coordinatorRestartsUnderAGang() throws Exception {
    cluster.haveWorkers(3);
    job = brief.submit(cluster, 1, 3, NO_CHECKPOINT);
    try (Watch watch = Watch.of(cluster, job)) {
      watch.awaitReplicas(0, 3, LIMIT);
      cluster.coordinator().kill();
      TimeUnit.SECONDS.sleep(5);
      cluster.restartCoordinator();
    }
    assertThat(expectNoStepTwice(brief).get("attempts")).as("no group changes").hasSize(1);
  }

  @Test
  void aGangThatLosesTooManyFallsBackToItsCheckpoint() throws Exception {
    cluster.haveWorkers(2);
    job = brief.submit(cluster, 2, 2, CHECKPOINTS);
    try (Watch watch = Watch.of(cluster, job)) {
      List<String> workers = watch.awaitReplicas(0, 2, LIMIT);
      watch.await(watch.mark(), LIMIT, Watch::isCheckpoint);
      cluster.worker(workers.get(1)).kill();
      String why = "";
      for (long end = System.nanoTime() + LIMIT.toNanos();
          !why.contains("2 replicas") && System.nanoTime() < end;
          why = cluster.baton("show", job, "--why").orFail()) {
        TimeUnit.MILLISECONDS.sleep(300);
      }
      assertThat(why).contains("2 replicas");
      cluster.haveWorkers(2);
    }
    expectSameEnd(brief);
  }
}
