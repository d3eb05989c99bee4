package dev.baton.worker.daemon;

import static dev.baton.worker.testing.Eventually.await;
import static dev.baton.worker.testing.FakeTrainer.job;
import static dev.baton.worker.testing.FakeTrainer.weights;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.Checkpoint;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.DamagedCheckpoint;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.Hello;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.OrderKind;
import dev.baton.v1.Resources;
import dev.baton.v1.Unprepare;
import dev.baton.worker.testing.FakeCoordinator;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A whole worker with processes for trainers, against a coordinator that does as the test says. */
@Timeout(120)
class WorkerDaemonTest {
  private static final long NONE = 0;

  @TempDir Path dir;
  private TestWorker worker;
  private FakeCoordinator coordinator;
  private ThreadLoop loop;
  private WorkerDaemon daemon;

  @BeforeEach
  void start() throws Exception {
    worker = new TestWorker(dir, 1);
    coordinator = worker.coordinator;
    loop = worker.loop;
    daemon = worker.daemon;
  }

  @AfterEach
  void stop() throws Exception {
    worker.close();
  }

  @Test
  void aJobRunsToItsEnd() {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 20, 5, 0, 5)));
    FinishAttemptRequest end = finished(1);
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
    await("the attempt's folder is gone", () -> entries("attempts") == 0);
    await("one trainer waits again", () -> entries("trainers") == 1);
  }

  @Test
  void aPreparedJobGoesAtOnceWithItsCheckpoint() {
    handedOverOnce("j", job("finish", 2_000, 2, 0, 0), 5);
    Assignment rest = coordinator.assignment("j", job("finish", 2_000, 2, 0, 0));
    coordinator.prepare(rest);
    await("prepared", this::prepared);
    LeaseRef lease = coordinator.offer(rest);
    await("it goes on", () -> coordinator.copy(coordinator.begun).size() == 2);
    assertThat(coordinator.copy(coordinator.begun).get(1).getResumedStep())
        .isEqualTo(coordinator.committedStep());
    assertThat(coordinator.copy(coordinator.begun).get(1).getCheckpointId())
        .isEqualTo(rest.getCheckpoints(0).getCheckpointId());
    // Once, in the preparation.
    assertThat(coordinator.store.downloads()).isEqualTo(1);
    coordinator.order(lease, OrderKind.ORDER_KIND_CANCEL, "");
    await("idle", this::idle);
  }

  @Test
  void aNewerCheckpointThanThePreparedOneIsPreparedAnew() {
    String name = job("finish", 2_000, 2, 0, 0);
    handedOverOnce("j", name, 5);
    coordinator.prepare(coordinator.assignment("j", name).toBuilder().clearCheckpoints().build());
    await("prepared", this::prepared);
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", name));
    await("begun", () -> coordinator.copy(coordinator.begun).size() == 2);
    assertThat(coordinator.copy(coordinator.begun).get(1).getResumedStep())
        .isEqualTo(coordinator.committedStep())
        .isPositive();
    coordinator.order(lease, OrderKind.ORDER_KIND_CANCEL, "");
  }

  @Test
  void unprepareLetsGo() {
    coordinator.prepare(coordinator.assignment("j", job("finish", 20, 5, 0, 5)));
    await("prepared", this::prepared);
    coordinator.push(
        CoordinatorMessage.newBuilder().setUnprepare(Unprepare.newBuilder().setJobId("j")).build());
    await("let go", () -> !prepared() && entries("attempts") == 0);
    assertThat(coordinator.copy(coordinator.begun)).isEmpty();
  }

  @Test
  void handingOverCommitsEveryStepAndReleases() {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> reportedStep() >= 10);
    coordinator.order(lease, OrderKind.ORDER_KIND_HAND_OVER, "paused");
    await("released", () -> !coordinator.stands(lease));
    CommitCheckpointRequest commit = coordinator.copy(coordinator.commits).get(0);
    assertThat(commit.getRelease()).isTrue();
    assertThat(commit.getReleaseReason()).isEqualTo("paused");
    assertThat(commit.getStep()).isGreaterThanOrEqualTo(reportedStep());
    assertThat(coordinator.lossSteps()).isEqualTo(steps(commit.getStep()));
    assertThat(coordinator.log(lease.getTerm())).contains("step " + commit.getStep() + "\n");
    await("idle", this::idle);
    assertThat(coordinator.copy(coordinator.finished)).isEmpty();
  }

  @Test
  void whatWasHandedOverEndsAsIfNothingHadHappened() {
    String name = job("finish", 300, 2, 0, 7);
    handedOverOnce("j", name, 20);
    coordinator.offer(coordinator.assignment("j", name));
    assertThat(succeeded().getResult().getWeightsSha256()).isEqualTo(weights(300));
    assertThat(coordinator.lossSteps()).isEqualTo(steps(300));
    assertThat(coordinator.refusals).isEmpty();
  }

  @Test
  void nothingTrainedIsReleasedWithoutAnUpload() {
    String name = job("finish", 9_999, 60_000, 0, 0);
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", name));
    await("begun", () -> coordinator.copy(coordinator.begun).size() == 1);
    // Its first step takes a minute: it is killed before it answers where nothing else ends it.
    coordinator.order(lease, OrderKind.ORDER_KIND_CANCEL, "");
    await("idle", this::idle);
    LeaseRef preparing =
        coordinator.offer(coordinator.assignment("k", job("finish", 9_999, 2, 0, 0)));
    await("taken", () -> !idle());
    daemon.leave("SIGTERM");
    await("given back", () -> !coordinator.stands(preparing));
    await("ended", () -> daemon.ended().isDone());
    assertThat(coordinator.copy(coordinator.drained)).containsExactly("SIGTERM");
  }

  @Test
  void leavingAnnouncesItHandsOverAndEnds() throws Exception {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> reportedStep() >= 3);
    daemon.leave("SIGTERM");
    daemon.ended().get(30, TimeUnit.SECONDS);
    assertThat(coordinator.stands(lease)).isFalse();
    assertThat(coordinator.copy(coordinator.drained)).containsExactly("SIGTERM");
    assertThat(coordinator.copy(coordinator.commits))
        .singleElement()
        .satisfies(c -> assertThat(c.getRelease()).isTrue());
  }

  @Test
  void anOfferThatCrossesTheLeavingIsGivenBack() throws Exception {
    coordinator.offerAcrossDraining(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    daemon.leave("SIGTERM");
    daemon.ended().get(30, TimeUnit.SECONDS);
    assertThat(coordinator.copy(coordinator.finished))
        .singleElement()
        .satisfies(
            back -> {
              assertThat(back.getLease().getJobId()).isEqualTo("j");
              assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
              assertThat(back.getMessage()).contains("draining");
            });
  }

  @Test
  void leavingWaitsNotForACoordinatorThatIsSilent() throws Exception {
    coordinator.answering(false);
    daemon.leave("SIGTERM");
    daemon.ended().get(30, TimeUnit.SECONDS);
  }

  @Test
  void whoMustLeaveDuringAnOutageHandsOverWhenItIsBack() throws Exception {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> reportedStep() >= 3);
    coordinator.goAway();
    daemon.leave("SIGTERM");
    coordinator.comeBack();
    daemon.ended().get(30, TimeUnit.SECONDS);
    assertThat(coordinator.stands(lease)).isFalse();
    assertThat(coordinator.committedStep()).isPositive();
  }

  @Test
  void aDrainedWorkerGivesOffersBack() {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> reportedStep() >= 3);
    coordinator.order(lease, OrderKind.ORDER_KIND_DRAIN, "");
    await("handed over", () -> !coordinator.stands(lease));
    await("no trainer is left", () -> ProcessHandle.current().descendants().count() == 0);
    coordinator.offer(coordinator.assignment("k", job("finish", 9_999, 2, 0, 0)));
    FinishAttemptRequest back = finished(1);
    assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
    assertThat(back.getMessage()).contains("draining");
  }

  @Test
  void whoRestsHandsOverKeepsNoTrainerAndComesBack() {
    String name = job("finish", 300, 2, 0, 0);
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", name));
    await("trains", () -> reportedStep() >= 10);
    loop.execute(() -> daemon.rest("outside its hours"));
    await("handed over", () -> !coordinator.stands(lease));
    await("no trainer is left", () -> ProcessHandle.current().descendants().count() == 0);
    assertThat(coordinator.copy(coordinator.commits))
        .singleElement()
        .satisfies(c -> assertThat(c.getReleaseReason()).isEqualTo("outside its hours"));
    coordinator.offer(coordinator.assignment("j", name));
    FinishAttemptRequest back = finished(1);
    assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
    assertThat(back.getMessage()).isEqualTo("outside its hours");
    // Said again in each session; its end too, where it came before the session stood.
    coordinator.holdWelcome();
    coordinator.breakStream();
    await("back", () -> coordinator.copy(coordinator.hellos).stream().anyMatch(Hello::getDraining));
    CountDownLatch works = new CountDownLatch(1);
    loop.execute(daemon::work);
    loop.execute(works::countDown);
    awaitUninterruptibly(works);
    coordinator.welcome();
    await("told", () -> coordinator.copy(coordinator.drained).contains("over"));
    coordinator.offer(coordinator.assignment("j", name));
    assertThat(finished(2).getResult().getWeightsSha256()).isEqualTo(weights(300));
    assertThat(coordinator.lossSteps()).isEqualTo(steps(300));
  }

  @Test
  void whoIsToFinishGoesOnAndTakesNoMore() {
    coordinator.offer(coordinator.assignment("j", job("finish", 300, 2, 0, 0)));
    await("trains", () -> reportedStep() >= 3);
    loop.execute(() -> daemon.finish("its machine ends soon"));
    await("told", () -> !coordinator.copy(coordinator.drained).isEmpty());
    coordinator.offer(coordinator.assignment("k", job("finish", 300, 2, 0, 0)));
    assertThat(finished(1).getMessage()).isEqualTo("its machine ends soon");
    assertThat(finished(2).getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
    // Leaving then says nothing new.
    daemon.leave("its machine ends soon");
    await("ended", () -> daemon.ended().isDone());
    assertThat(coordinator.copy(coordinator.drained)).containsExactly("its machine ends soon");
  }

  @Test
  void whatMayNotBeginHereIsGivenBackWithTheReason() {
    coordinator.refuseToBegin("it wants the kind that it began on");
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    FinishAttemptRequest back = finished(1);
    assertThat(back.getLease()).isEqualTo(lease);
    assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
    assertThat(back.getMessage())
        .isEqualTo("FAILED_PRECONDITION: it wants the kind that it began on");
    await("nothing is left of it", () -> idle() && entries("attempts") == 0);
    coordinator.refuseToBegin(null);
    coordinator.offer(coordinator.assignment("k", job("finish", 5, 2, 0, 0)));
    assertThat(finished(2).getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
  }

  @Test
  void aCommitThatIsRefusedForGoodIsTheWorkersError() {
    coordinator.refuseCommits("step: it is behind");
    coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 20)));
    FinishAttemptRequest back = finished(1);
    assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR);
    assertThat(back.getMessage()).isEqualTo("INVALID_ARGUMENT: step: it is behind");
    await("nothing is left of it", () -> idle() && entries("attempts") == 0);
  }

  @Test
  void givingBackIsTriedAgain() {
    coordinator.order(LeaseRef.getDefaultInstance(), OrderKind.ORDER_KIND_DRAIN, "");
    coordinator.failCalls(2);
    coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    assertThat(finished(1).getMessage()).contains("draining");
  }

  @Test
  void aSecondJobForTheOneSlotIsGivenBack() {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    coordinator.offer(coordinator.assignment("k", job("finish", 9_999, 2, 0, 0)));
    FinishAttemptRequest back = finished(1);
    assertThat(back.getLease().getJobId()).isEqualTo("k");
    assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
    // Repeated offers change nothing.
    coordinator.offer(lease, coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> reportedStep() >= 3);
    assertThat(coordinator.copy(coordinator.begun)).hasSize(1);
  }

  @Test
  void anEndedLeaseStopsTheTrainerAndCommitsNothing() {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> reportedStep() >= 3);
    coordinator.end(lease);
    await("idle", this::idle);
    assertThat(coordinator.copy(coordinator.commits)).isEmpty();
    assertThat(coordinator.copy(coordinator.finished)).isEmpty();
    await("its trainer is gone", () -> entries("attempts") == 0 && entries("trainers") == 1);
  }

  @Test
  void aRefusedUploadStopsTheTrainer() {
    coordinator.answering(false);
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 50)));
    await("trains", () -> reportedStep() >= 3);
    // Only the refusal of a write can tell it.
    coordinator.end(lease);
    int commits = coordinator.copy(coordinator.commits).size();
    await("refused", () -> coordinator.copy(coordinator.refusals).size() > 0);
    await("gone", () -> entries("attempts") == 0);
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
    assertThat(finished(1).getResult().getWeightsSha256()).isEqualTo(weights(400));
    assertThat(coordinator.copy(coordinator.begun)).hasSize(1);
    assertThat(finished(1).getLease()).isEqualTo(lease);
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
    await("trains", () -> reportedStep() >= 3);
    coordinator.goAway();
    coordinator.end(lease);
    int commits = coordinator.copy(coordinator.commits).size();
    coordinator.comeBack();
    await("idle", this::idle);
    await("gone", () -> entries("attempts") == 0);
    assertThat(coordinator.copy(coordinator.commits)).hasSize(commits);
    // And it takes the next one.
    coordinator.offer(coordinator.assignment("k", job("finish", 5, 2, 0, 0)));
    assertThat(finished(1).getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
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
    await("idle", this::idle);
    assertThat(coordinator.copy(coordinator.commits)).hasSize(commits);
    assertThat(coordinator.copy(coordinator.refusals)).noneMatch(r -> r.startsWith("commit"));
  }

  @Test
  void repeatedRepliesAndABrokenStreamChangeNothing() {
    coordinator.repeating();
    String name = job("finish", 200, 5, 0, 20);
    coordinator.offer(coordinator.assignment("j", name));
    await("trains", () -> reportedStep() >= 20);
    List<Hello> before = coordinator.copy(coordinator.hellos);
    coordinator.breakStream();
    assertThat(finished(1).getResult().getWeightsSha256()).isEqualTo(weights(200));
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
    assertThat(finished(1).getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
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
    assertThat(finished(1).getLease()).isEqualTo(lease);
    assertThat(finished(1).getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
  }

  @Test
  void aResultThatIsGoneIsTheWorkersError() throws Exception {
    coordinator.store.fail(Integer.MAX_VALUE);
    coordinator.offer(coordinator.assignment("j", job("finish", 5, 2, 0, 0)));
    await("tried", () -> coordinator.store.failuresLeft() < Integer.MAX_VALUE);
    Path model = only("attempts").resolve("attempt/model.txt");
    Files.delete(model);
    assertThat(finished(1).getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR);
    assertThat(finished(1).getMessage())
        .isEqualTo("the results cannot be stored: " + model + ": no such file or folder");
  }

  @Test
  void aCheckpointThatCannotBeStoredIsFollowedByAnother() {
    coordinator.loseUploads(3);
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 99_999, 5, 0, 0)));
    await("trains", () -> reportedStep() > 3);
    coordinator.order(lease, OrderKind.ORDER_KIND_CHECKPOINT_NOW, "");
    await("the next is stored", () -> !coordinator.copy(coordinator.commits).isEmpty());
    assertThat(coordinator.lossSteps())
        .isEqualTo(steps(coordinator.copy(coordinator.commits).get(0).getStep()));
  }

  @Test
  void aNewerSnapshotReplacesOneThatWaits() {
    coordinator.store.hold(true);
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 10)));
    await("trains", () -> reportedStep() >= 80);
    coordinator.store.hold(false);
    await("two commits", () -> coordinator.copy(coordinator.commits).size() >= 2);
    List<CommitCheckpointRequest> commits = coordinator.copy(coordinator.commits);
    assertThat(commits.get(0).getStep()).isEqualTo(10);
    assertThat(commits.get(1).getStep()).isGreaterThanOrEqualTo(70);
    assertThat(commits.get(1).getPointsCount()).isEqualTo((int) commits.get(1).getStep() - 10);
    coordinator.order(lease, OrderKind.ORDER_KIND_CANCEL, "");
    await("idle", this::idle);
  }

  @Test
  void checkpointNowCommitsAndGoesOn() {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> reportedStep() >= 3);
    coordinator.order(lease, OrderKind.ORDER_KIND_CHECKPOINT_NOW, "");
    await("committed", () -> coordinator.committedStep() > 0);
    await("goes on", () -> reportedStep() > coordinator.committedStep());
    assertThat(coordinator.stands(lease)).isTrue();
  }

  @Test
  void aDamagedCheckpointIsSkippedForItsPredecessor() {
    String name = job("finish", 1_500, 2, 0, 0);
    long older = twoCheckpoints("j", name);
    Assignment rest = coordinator.assignment("j", name);
    Checkpoint newest = rest.getCheckpoints(0);
    coordinator.store.damage(coordinator.key(newest));
    coordinator.offer(rest);
    assertThat(finished(1).getResult().getWeightsSha256()).isEqualTo(weights(1_500));
    assertThat(coordinator.copy(coordinator.begun).get(2).getResumedStep()).isEqualTo(older);
    assertThat(coordinator.copy(coordinator.begun).get(2).getDamagedList())
        .extracting(DamagedCheckpoint::getCheckpointId)
        .containsExactly(newest.getCheckpointId());
    assertThat(coordinator.lossSteps()).isEqualTo(steps(1_500));
  }

  @Test
  void aCheckpointThatCannotBeRestoredIsSkippedInTheSameTerm() {
    String name = job("finish", 1_500, 2, 0, 0);
    long older = twoCheckpoints("j", name);
    Checkpoint newest = coordinator.assignment("j", name).getCheckpoints(0);
    coordinator.replace(newest, "not what the job's model needs");
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", name));
    FinishAttemptRequest end = finished(1);
    assertThat(end.getLease()).isEqualTo(lease);
    assertThat(end.getResult().getWeightsSha256()).isEqualTo(weights(1_500));
    BeginAttemptRequest begun = coordinator.copy(coordinator.begun).get(2);
    assertThat(begun.getResumedStep()).isEqualTo(older);
    assertThat(begun.getDamagedList())
        .singleElement()
        .satisfies(
            d -> {
              assertThat(d.getCheckpointId()).isEqualTo(newest.getCheckpointId());
              assertThat(d.getReason())
                  .isEqualTo(
                      "checkpoint-%d.safetensors lacks tensor 'weight' of this job's model"
                          .formatted(newest.getStep()));
            });
    assertThat(coordinator.lossSteps()).isEqualTo(steps(1_500));
    assertThat(coordinator.log(lease.getTerm())).startsWith("threads 1\n").endsWith("done\n");
    await("nothing stays behind", () -> entries("attempts") == 0 && entries("trainers") == 1);
  }

  @Test
  void aCheckpointOfAnotherStepCannotBeRestoredEither() {
    String name = job("finish", 1_500, 2, 0, 0);
    long older = twoCheckpoints("j", name);
    Checkpoint newest = coordinator.assignment("j", name).getCheckpoints(0);
    coordinator.replace(newest, "7777 1");
    coordinator.offer(coordinator.assignment("j", name));
    assertThat(finished(1).getResult().getWeightsSha256()).isEqualTo(weights(1_500));
    BeginAttemptRequest begun = coordinator.copy(coordinator.begun).get(2);
    assertThat(begun.getResumedStep()).isEqualTo(older);
    assertThat(begun.getDamaged(0).getReason())
        .isEqualTo("it holds the state of step 7777, not of step " + newest.getStep());
  }

  @Test
  void whereNoCheckpointCanBeRestoredAPreparedJobStartsFromTheBeginning() {
    String name = job("finish", 1_500, 2, 0, 0);
    twoCheckpoints("j", name);
    List<Checkpoint> both = coordinator.assignment("j", name).getCheckpointsList();
    both.forEach(c -> coordinator.replace(c, "not what the job's model needs"));
    // Without a lease the same happens, and is told when there is one.
    coordinator.prepare(coordinator.assignment("j", name));
    await("prepared", this::prepared);
    coordinator.offer(coordinator.assignment("j", name));
    assertThat(finished(1).getResult().getWeightsSha256()).isEqualTo(weights(1_500));
    BeginAttemptRequest begun = coordinator.copy(coordinator.begun).get(2);
    assertThat(begun.getResumedStep()).isZero();
    assertThat(begun.getCheckpointId()).isEmpty();
    assertThat(begun.getDamagedList())
        .extracting(DamagedCheckpoint::getCheckpointId)
        .containsExactlyElementsOf(both.stream().map(Checkpoint::getCheckpointId).toList());
    assertThat(coordinator.lossSteps()).isEqualTo(steps(1_500));
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
    FinishAttemptRequest back = finished(1);
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
    assertThat(finished(1).getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
    assertThat(coordinator.log(1)).startsWith("threads 2\n");
  }

  private AttemptOutcome outcome(String mode) {
    coordinator.offer(coordinator.assignment("j", job(mode, 9_999, 5, 10, 8)));
    return finished(1).getOutcome();
  }

  // Trains a while and hands over, as another worker would have done before.
  private void handedOverOnce(String id, String name, long step) {
    LeaseRef lease = coordinator.offer(coordinator.assignment(id, name));
    await("trains", () -> reportedStep() >= step);
    coordinator.order(lease, OrderKind.ORDER_KIND_HAND_OVER, "");
    await("released", () -> !coordinator.stands(lease));
    await("idle", this::idle);
  }

  // Trains and hands over twice; the step of the older checkpoint.
  private long twoCheckpoints(String id, String name) {
    handedOverOnce(id, name, 5);
    long older = coordinator.committedStep();
    handedOverOnce(id, name, older + 5);
    return older;
  }

  private FinishAttemptRequest finished(int n) {
    await("attempt " + n + " ends", () -> coordinator.copy(coordinator.finished).size() >= n);
    return coordinator.copy(coordinator.finished).get(n - 1);
  }

  // What was handed over just after a commit was given back before, by a message of its own.
  private FinishAttemptRequest succeeded() {
    await("succeeded", () -> ends(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED).count() > 0);
    return ends(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED).findFirst().orElseThrow();
  }

  private Stream<FinishAttemptRequest> ends(AttemptOutcome outcome) {
    return coordinator.copy(coordinator.finished).stream().filter(e -> e.getOutcome() == outcome);
  }

  private long reportedStep() {
    return coordinator.copy(coordinator.progress).stream()
        .mapToLong(p -> p.getProgress().getStep())
        .max()
        .orElse(NONE);
  }

  private boolean prepared() {
    var heartbeats = coordinator.copy(coordinator.heartbeats);
    return !heartbeats.isEmpty()
        && heartbeats.get(heartbeats.size() - 1).getPreparedJobsCount() == 1;
  }

  private boolean idle() {
    var heartbeats = coordinator.copy(coordinator.heartbeats);
    return !heartbeats.isEmpty() && heartbeats.get(heartbeats.size() - 1).getLeasesCount() == 0;
  }

  private static List<Long> steps(long n) {
    return LongStream.rangeClosed(1, n).boxed().toList();
  }

  private int entries(String folder) {
    return worker.entries(folder);
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
