package dev.baton.worker.daemon;

import static dev.baton.worker.daemon.TestWorker.steps;
import static dev.baton.worker.testing.Eventually.await;
import static dev.baton.worker.testing.FakeTrainer.job;
import static dev.baton.worker.testing.FakeTrainer.weights;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.Hello;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Resources;
import dev.baton.v1.Unprepare;
import dev.baton.worker.testing.FakeCoordinator;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A whole worker with processes for trainers, against a coordinator that does as the test says. */
@Timeout(120)
class WorkerDaemonTest {
  @TempDir Path dir;
  private TestWorker worker;
  private FakeCoordinator coordinator;
  private ThreadLoop loop;

  @BeforeEach
  void start() throws Exception {
    worker = new TestWorker(dir, 1);
    coordinator = worker.coordinator;
    loop = worker.loop;
  }

  @AfterEach
  void stop() throws Exception {
    worker.close();
  }

  @Test
  void aJobRunsToItsEnd() {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 20, 5, 0, 5)));
    FinishAttemptRequest end = worker.finished(1);
    assertThat(end.getLease()).isEqualTo(lease);
    assertThat(end.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
    assertThat(end.getResult().getWeightsSha256()).isEqualTo(weights(20));
    assertThat(end.getLastStep()).isEqualTo(20);
    assertThat(end.getArtifactsList())
        .singleElement()
        .satisfies(a -> assertThat(a.getName()).isEqualTo("model.txt"));
    assertThat(coordinator.lossSteps()).isEqualTo(steps(20));
    assertThat(coordinator.refusals).isEmpty();
    // Whole before the end was told, although the trainer printed to the last.
    assertThat(coordinator.log(1)).startsWith("threads 1\nstep 1\n").endsWith("step 20\ndone\n");
    assertThat(coordinator.copy(coordinator.begun))
        .singleElement()
        .satisfies(
            b -> {
              assertThat(b.getResumedStep()).isZero();
              assertThat(b.getKind()).isEqualTo("fake kind");
              assertThat(b.getTotalSteps()).isEqualTo(20);
            });
    assertThat(coordinator.copy(coordinator.progress))
        .isNotEmpty()
        .allSatisfy(p -> assertThat(p.getFirstStep()).isEqualTo(1));
    // Nothing stays behind.
    await("the attempt's folder is gone", () -> worker.entries("attempts") == 0);
    await("one trainer waits again", () -> worker.entries("trainers") == 1);
  }

  @Test
  void unprepareLetsGo() {
    coordinator.prepare(coordinator.assignment("j", job("finish", 20, 5, 0, 5)));
    await("prepared", worker::prepared);
    coordinator.push(
        CoordinatorMessage.newBuilder().setUnprepare(Unprepare.newBuilder().setJobId("j")).build());
    await("let go", () -> !worker.prepared() && worker.entries("attempts") == 0);
    assertThat(coordinator.copy(coordinator.begun)).isEmpty();
  }

  @Test
  void whatMayNotBeginHereIsGivenBackWithTheReason() {
    coordinator.refuseToBegin("it wants the kind that it began on");
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    FinishAttemptRequest back = worker.finished(1);
    assertThat(back.getLease()).isEqualTo(lease);
    assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
    assertThat(back.getMessage())
        .isEqualTo("FAILED_PRECONDITION: it wants the kind that it began on");
    await("nothing is left of it", () -> worker.idle() && worker.entries("attempts") == 0);
    coordinator.refuseToBegin(null);
    coordinator.offer(coordinator.assignment("k", job("finish", 5, 2, 0, 0)));
    assertThat(worker.finished(2).getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
  }

  @Test
  void aCommitThatIsRefusedForGoodIsTheWorkersError() {
    coordinator.refuseCommits("step: it is behind");
    coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 20)));
    FinishAttemptRequest back = worker.finished(1);
    assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR);
    assertThat(back.getMessage()).isEqualTo("INVALID_ARGUMENT: step: it is behind");
    await("nothing is left of it", () -> worker.idle() && worker.entries("attempts") == 0);
  }

  @Test
  void aSecondJobForTheOneSlotIsGivenBack() {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    coordinator.offer(coordinator.assignment("k", job("finish", 9_999, 2, 0, 0)));
    FinishAttemptRequest back = worker.finished(1);
    assertThat(back.getLease().getJobId()).isEqualTo("k");
    assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
    // Repeated offers change nothing.
    coordinator.offer(lease, coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> worker.reportedStep() >= 3);
    assertThat(coordinator.copy(coordinator.begun)).hasSize(1);
  }

  @Test
  void anEndedLeaseStopsTheTrainerAndCommitsNothing() {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> worker.reportedStep() >= 3);
    coordinator.end(lease);
    await("idle", worker::idle);
    assertThat(coordinator.copy(coordinator.commits)).isEmpty();
    assertThat(coordinator.copy(coordinator.finished)).isEmpty();
    await(
        "its trainer is gone",
        () -> worker.entries("attempts") == 0 && worker.entries("trainers") == 1);
  }

  @Test
  void aRefusedUploadStopsTheTrainer() {
    coordinator.answering(false);
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 50)));
    await("trains", () -> worker.reportedStep() >= 3);
    // Only the refusal of a write can tell it.
    coordinator.end(lease);
    int commits = coordinator.copy(coordinator.commits).size();
    await("refused", () -> coordinator.copy(coordinator.refusals).size() > 0);
    await("gone", () -> worker.entries("attempts") == 0);
    assertThat(coordinator.copy(coordinator.commits)).hasSize(commits);
  }

  @Test
  void anOutageBeyondTheDeadlinePausesAndThenItGoesOn() throws Exception {
    String name = job("finish", 400, 10, 0, 20);
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", name));
    await("a checkpoint", () -> coordinator.committedStep() > 0);
    coordinator.goAway();
    Path attempt = only("attempts");
    await("paused", () -> still(attempt));
    long committed = coordinator.committedStep();
    assertThat(committed).isLessThan(400);
    coordinator.comeBack();
    assertThat(worker.finished(1).getResult().getWeightsSha256()).isEqualTo(weights(400));
    assertThat(coordinator.copy(coordinator.begun)).hasSize(1);
    assertThat(worker.finished(1).getLease()).isEqualTo(lease);
    assertThat(coordinator.lossSteps()).isEqualTo(steps(400));
    assertThat(coordinator.log(lease.getTerm()))
        .isEqualTo(
            "threads 1\n"
                + String.join("", steps(400).stream().map(s -> "step " + s + "\n").toList())
                + "done\n");
  }

  @Test
  void whoReturnsToAnEndedTermIsToldSoAndDropsIt() throws Exception {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 50)));
    await("trains", () -> worker.reportedStep() >= 3);
    coordinator.goAway();
    coordinator.end(lease);
    int commits = coordinator.copy(coordinator.commits).size();
    coordinator.comeBack();
    await("idle", worker::idle);
    await("gone", () -> worker.entries("attempts") == 0);
    assertThat(coordinator.copy(coordinator.commits)).hasSize(commits);
    // And it takes the next one.
    coordinator.offer(coordinator.assignment("k", job("finish", 5, 2, 0, 0)));
    assertThat(worker.finished(1).getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
  }

  @Test
  void aDaemonThatWasFrozenAsksBeforeItCommits() throws Exception {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 20)));
    await("a checkpoint", () -> coordinator.committedStep() > 0);
    coordinator.store.hold(true);
    await("an upload is under way", () -> coordinator.store.uploading() > 0);
    CountDownLatch thaw = new CountDownLatch(1);
    CountDownLatch frozen = new CountDownLatch(1);
    loop.execute(
        () -> {
          frozen.countDown();
          awaitUninterruptibly(thaw);
        });
    frozen.await();
    Path attempt = only("attempts");
    // The trainer holds the deadline itself.
    await("paused", () -> still(attempt));
    int commits = coordinator.copy(coordinator.commits).size();
    coordinator.end(lease);
    coordinator.store.hold(false);
    await("uploaded", () -> coordinator.store.uploading() == 0);
    thaw.countDown();
    await("idle", worker::idle);
    assertThat(coordinator.copy(coordinator.commits)).hasSize(commits);
    assertThat(coordinator.copy(coordinator.refusals)).noneMatch(r -> r.startsWith("commit"));
  }

  @Test
  void repeatedRepliesAndABrokenStreamChangeNothing() {
    coordinator.repeating();
    String name = job("finish", 200, 5, 0, 20);
    coordinator.offer(coordinator.assignment("j", name));
    await("trains", () -> worker.reportedStep() >= 20);
    List<Hello> before = coordinator.copy(coordinator.hellos);
    coordinator.breakStream();
    assertThat(worker.finished(1).getResult().getWeightsSha256()).isEqualTo(weights(200));
    List<Hello> hellos = coordinator.copy(coordinator.hellos);
    assertThat(hellos).hasSize(before.size() + 1);
    Hello last = hellos.get(before.size());
    assertThat(last.getSession()).isEqualTo(before.get(before.size() - 1).getSession() + 1);
    assertThat(last.getLeasesCount()).isEqualTo(1);
    assertThat(coordinator.copy(coordinator.begun)).hasSize(1);
    assertThat(coordinator.refusals).isEmpty();
  }

  @Test
  void failedCallsAndUploadsAreTriedAgainAndLoseNoPoint() {
    coordinator.failCalls(3);
    coordinator.store.fail(2);
    coordinator.loseUploads(1);
    coordinator.offer(coordinator.assignment("j", job("finish", 200, 5, 0, 10)));
    assertThat(worker.finished(1).getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
    assertThat(coordinator.lossSteps()).isEqualTo(steps(200));
    assertThat(coordinator.refusals).isEmpty();
  }

  @Test
  void aResultWaitsForTheStoreAsLongAsTheLeaseIsHeld() {
    coordinator.store.fail(Integer.MAX_VALUE);
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 5, 2, 0, 0)));
    await("tried twice", () -> coordinator.store.failuresLeft() < Integer.MAX_VALUE - 1);
    assertThat(coordinator.copy(coordinator.finished)).isEmpty();
    coordinator.store.fail(0);
    assertThat(worker.finished(1).getLease()).isEqualTo(lease);
    assertThat(worker.finished(1).getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
  }

  @Test
  void aResultThatIsGoneIsTheWorkersError() throws Exception {
    coordinator.store.fail(Integer.MAX_VALUE);
    coordinator.offer(coordinator.assignment("j", job("finish", 5, 2, 0, 0)));
    await("tried", () -> coordinator.store.failuresLeft() < Integer.MAX_VALUE);
    Path model = only("attempts").resolve("attempt/model.txt");
    Files.delete(model);
    assertThat(worker.finished(1).getOutcome())
        .isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR);
    assertThat(worker.finished(1).getMessage())
        .isEqualTo("the results cannot be stored: " + model + ": no such file or folder");
  }

  @Test
  void aJobWhoseDataCannotBeHadIsGivenBackUnstarted() {
    Dataset lost =
        Dataset.newBuilder()
            .setName("lost")
            .setDigest("ab".repeat(32))
            .addFiles(
                DatasetFile.newBuilder()
                    .setPath("train.tar")
                    .setBytes(5)
                    .setSha256("cd".repeat(32)))
            .build();
    coordinator.offer(
        coordinator.assignment("j", job("finish", 9_999, 5, 10, 8)).toBuilder()
            .addDatasets(lost)
            .build());
    FinishAttemptRequest back = worker.finished(1);
    assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
    assertThat(back.getMessage()).contains("data cannot be had");
    assertThat(coordinator.copy(coordinator.begun)).isEmpty();
  }

  @Test
  void aKilledTrainerIsToldFromACrash() {
    assertThat(outcome("kill")).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_KILLED);
    assertThat(coordinator.copy(coordinator.finished).get(0).getLastStep()).isEqualTo(10);
    // Its last snapshot was whole.
    assertThat(coordinator.committedStep()).isEqualTo(8);
  }

  @Test
  void aCrashIsReportedWithItsSignal() {
    assertThat(outcome("segv")).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_CRASHED);
    assertThat(coordinator.copy(coordinator.finished).get(0).getMessage()).contains("SIGSEGV");
    assertThat(coordinator.log(1)).contains("fatal error");
  }

  @Test
  void outOfMemoryIsKnownByItsMessage() {
    assertThat(outcome("oom")).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_OUT_OF_MEMORY);
    assertThat(coordinator.copy(coordinator.finished).get(0).getMessage())
        .contains("CUDA out of memory");
  }

  @Test
  void aStalledTrainerLeavesItsStacksAndIsKilled() {
    assertThat(outcome("hang")).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_STALLED);
    assertThat(coordinator.copy(coordinator.finished).get(0).getMessage()).contains("no step for");
    assertThat(coordinator.log(1)).contains("Full thread dump", "FakeTrainer.misbehave");
  }

  @Test
  void aUsersErrorIsPassedOn() {
    assertThat(outcome("user")).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_USER_ERROR);
    assertThat(coordinator.copy(coordinator.finished).get(0).getMessage())
        .isEqualTo("label 12 is beyond the 10 classes");
  }

  @Test
  void aSpareIsStartedForTheThreadsOfTheJobThatMayCome() {
    Assignment two =
        coordinator.assignment("j", job("finish", 5, 2, 0, 0)).toBuilder()
            .setStageOnly(true)
            .build();
    Assignment.Builder changed = two.toBuilder();
    changed.getSpecBuilder().setResources(Resources.newBuilder().setCpus(2));
    coordinator.prepare(changed.build());
    coordinator.offer(changed.setStageOnly(false).build());
    assertThat(worker.finished(1).getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
    assertThat(coordinator.log(1)).startsWith("threads 2\n");
  }

  private AttemptOutcome outcome(String mode) {
    coordinator.offer(coordinator.assignment("j", job(mode, 9_999, 5, 10, 8)));
    return worker.finished(1).getOutcome();
  }

  private Path only(String folder) throws IOException {
    try (Stream<Path> children = Files.list(dir.resolve(folder))) {
      return children.findFirst().orElseThrow();
    }
  }

  // Whether the trainer has printed nothing for a while.
  private boolean still(Path attempt) {
    try {
      Path log;
      try (Stream<Path> trainers = Files.list(dir.resolve("trainers"))) {
        log =
            trainers
                .map(t -> t.resolve("trainer.log"))
                .filter(f -> f.toFile().length() > 20)
                .findFirst()
                .orElseThrow();
      }
      assertThat(attempt).exists();
      return System.currentTimeMillis() - Files.getLastModifiedTime(log).toMillis() > 300;
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private static void awaitUninterruptibly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
