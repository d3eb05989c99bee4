package dev.baton.worker.daemon;

import static dev.baton.worker.daemon.TestWorker.steps;
import static dev.baton.worker.testing.Eventually.await;
import static dev.baton.worker.testing.FakeTrainer.job;
import static dev.baton.worker.testing.FakeTrainer.weights;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.Hello;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.OrderKind;
import dev.baton.worker.testing.FakeCoordinator;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A whole worker, with processes for trainers, that hands over, rests or leaves. */
@Timeout(120)
class LeavingTest {
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
  void handingOverCommitsEveryStepAndReleases() {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> worker.reportedStep() >= 10);
    coordinator.order(lease, OrderKind.ORDER_KIND_HAND_OVER, "paused");
    await("released", () -> !coordinator.stands(lease));
    CommitCheckpointRequest commit = coordinator.copy(coordinator.commits).get(0);
    assertThat(commit.getRelease()).isTrue();
    assertThat(commit.getReleaseReason()).isEqualTo("paused");
    assertThat(commit.getStep()).isGreaterThanOrEqualTo(worker.reportedStep());
    assertThat(coordinator.lossSteps()).isEqualTo(steps(commit.getStep()));
    assertThat(coordinator.log(lease.getTerm())).contains("step " + commit.getStep() + "\n");
    await("idle", worker::idle);
    assertThat(coordinator.copy(coordinator.finished)).isEmpty();
  }

  @Test
  void whatWasHandedOverEndsAsIfNothingHadHappened() {
    String name = job("finish", 300, 2, 0, 7);
    worker.handedOverOnce("j", name, 20);
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
    await("idle", worker::idle);
    LeaseRef preparing =
        coordinator.offer(coordinator.assignment("k", job("finish", 9_999, 2, 0, 0)));
    await("taken", () -> !worker.idle());
    daemon.leave("SIGTERM");
    await("given back", () -> !coordinator.stands(preparing));
    await("ended", () -> daemon.ended().isDone());
    assertThat(coordinator.copy(coordinator.drained)).containsExactly("SIGTERM");
  }

  @Test
  void leavingAnnouncesItHandsOverAndEnds() throws Exception {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> worker.reportedStep() >= 3);
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
    await("trains", () -> worker.reportedStep() >= 3);
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
    await("trains", () -> worker.reportedStep() >= 3);
    coordinator.order(lease, OrderKind.ORDER_KIND_DRAIN, "");
    await("handed over", () -> !coordinator.stands(lease));
    await("no trainer is left", () -> ProcessHandle.current().descendants().count() == 0);
    coordinator.offer(coordinator.assignment("k", job("finish", 9_999, 2, 0, 0)));
    FinishAttemptRequest back = worker.finished(1);
    assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
    assertThat(back.getMessage()).contains("draining");
  }

  @Test
  void whoRestsHandsOverKeepsNoTrainerAndComesBack() {
    String name = job("finish", 300, 2, 0, 0);
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", name));
    await("trains", () -> worker.reportedStep() >= 10);
    loop.execute(() -> daemon.rest("outside its hours"));
    await("handed over", () -> !coordinator.stands(lease));
    await("no trainer is left", () -> ProcessHandle.current().descendants().count() == 0);
    assertThat(coordinator.copy(coordinator.commits))
        .singleElement()
        .satisfies(c -> assertThat(c.getReleaseReason()).isEqualTo("outside its hours"));
    coordinator.offer(coordinator.assignment("j", name));
    FinishAttemptRequest back = worker.finished(1);
    assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
    assertThat(back.getMessage()).isEqualTo("outside its hours");
    // Said again in each session; its end too, where it came before the session stood.
    coordinator.holdWelcome();
    coordinator.breakStream();
    await("back", () -> coordinator.copy(coordinator.hellos).stream().anyMatch(Hello::getDraining));
    CompletableFuture.runAsync(daemon::work, loop).join();
    coordinator.welcome();
    await("told", () -> coordinator.copy(coordinator.drained).contains("over"));
    coordinator.offer(coordinator.assignment("j", name));
    assertThat(worker.finished(2).getResult().getWeightsSha256()).isEqualTo(weights(300));
    assertThat(coordinator.lossSteps()).isEqualTo(steps(300));
  }

  @Test
  void whoIsToFinishGoesOnAndTakesNoMore() {
    coordinator.offer(coordinator.assignment("j", job("finish", 300, 2, 0, 0)));
    await("trains", () -> worker.reportedStep() >= 3);
    loop.execute(() -> daemon.finish("its machine ends soon"));
    await("told", () -> !coordinator.copy(coordinator.drained).isEmpty());
    coordinator.offer(coordinator.assignment("k", job("finish", 300, 2, 0, 0)));
    assertThat(worker.finished(1).getMessage()).isEqualTo("its machine ends soon");
    assertThat(worker.finished(2).getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
    // Leaving then says nothing new.
    daemon.leave("its machine ends soon");
    await("ended", () -> daemon.ended().isDone());
    assertThat(coordinator.copy(coordinator.drained)).containsExactly("its machine ends soon");
  }

  @Test
  void givingBackIsTriedAgain() {
    coordinator.order(LeaseRef.getDefaultInstance(), OrderKind.ORDER_KIND_DRAIN, "");
    coordinator.failCalls(2);
    coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    assertThat(worker.finished(1).getMessage()).contains("draining");
  }

  // What was handed over just after a commit was given back before, by a message of its own.
  private FinishAttemptRequest succeeded() {
    await("succeeded", () -> ends(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED).count() > 0);
    return ends(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED).findFirst().orElseThrow();
  }

  private Stream<FinishAttemptRequest> ends(AttemptOutcome outcome) {
    return coordinator.copy(coordinator.finished).stream().filter(e -> e.getOutcome() == outcome);
  }
}
