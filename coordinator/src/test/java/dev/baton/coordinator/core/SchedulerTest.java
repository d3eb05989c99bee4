package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.protobuf.ByteString;
import dev.baton.coordinator.testing.InMemoryStores;
import dev.baton.v1.AppendLogRequest;
import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.CreateDownloadRequest;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.DamagedCheckpoint;
import dev.baton.v1.Draining;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.Hello;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Machine;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.OrderKind;
import dev.baton.v1.Progress;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.Resources;
import dev.baton.v1.Result;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadPart;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.function.Function;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Leases on a manual clock: heartbeats each 3 s, a lease of 15 s, a grace of 2 s. */
final class SchedulerTest {
  private final InMemoryStores database = new InMemoryStores();
  private final List<Effect> effects = new ArrayList<>();
  private Scheduler scheduler = newScheduler();
  private long nanos = 5_000_000_000L;
  private long epochMs = 1_700_000_000_000L;
  private int requests;
  private int uploads;

  private Scheduler newScheduler() {
    return new Scheduler(
        database.stores(), LeasePolicy.DEFAULT, new SplittableRandom(17 + requests));
  }

  @BeforeEach
  void start() {
    run(
        s -> {
          s.start(now());
          return "";
        });
    advance(20_000);
  }

  private Now now() {
    return new Now(nanos, epochMs);
  }

  private <T> T run(Function<Scheduler, T> command) {
    database.begin();
    try {
      return command.apply(scheduler);
    } finally {
      database.commit();
      effects.addAll(scheduler.drainEffects());
    }
  }

  private void advance(long ms) {
    for (long left = ms; left > 0; left -= 50) {
      long step = Math.min(left, 50);
      nanos += step * 1_000_000;
      epochMs += step;
      run(
          s -> {
            s.tick(now());
            return "";
          });
    }
  }

  private void restart() {
    effects.clear();
    scheduler = newScheduler();
    nanos -= 3_000_000_000L;
    run(
        s -> {
          s.start(now());
          return "";
        });
  }

  // ---- A client and workers, by hand

  private static JobSpec.Builder spec() {
    return TestJobs.regression(100, 10);
  }

  private String submit(JobSpec.Builder spec) {
    return run(s -> s.submit("request-" + ++requests, spec.build(), now()));
  }

  private String submit() {
    return submit(spec());
  }

  private static Machine machine() {
    return Machine.newBuilder()
        .setCpuModel("cpu")
        .setCpus(2)
        .setMemoryBytes(4L << 30)
        .setLibtorch("2.10")
        .build();
  }

  private void hello(String worker, long session, LeaseRef... leases) {
    hello(worker, session, machine(), leases);
  }

  private void hello(String worker, long session, Machine machine, LeaseRef... leases) {
    run(
        s -> {
          s.openSession(
              Hello.newBuilder()
                  .setWorkerId(worker)
                  .setName(worker)
                  .setSession(session)
                  .setSlots(1)
                  .setProtocol(1)
                  .setMachine(machine)
                  .addAllLeases(Arrays.asList(leases))
                  .build(),
              now());
          return "";
        });
  }

  private void beat(String worker, long session, LeaseRef... leases) {
    run(
        s -> {
          s.heartbeat(
              worker,
              session,
              Heartbeat.newBuilder().setSeq(1).addAllLeases(Arrays.asList(leases)).build(),
              now());
          return "";
        });
  }

  private void broken(String worker, long session) {
    run(
        s -> {
          s.closeSession(worker, session, now());
          return "";
        });
  }

  private List<CoordinatorMessage> sent(String worker) {
    return effects.stream()
        .filter(e -> e instanceof Effect.Send send && send.workerId().equals(worker))
        .map(e -> ((Effect.Send) e).message())
        .toList();
  }

  /** The newest offer to this worker. */
  private LeaseRef offered(String worker) {
    return offers(worker).get(offers(worker).size() - 1).getOffer().getLease();
  }

  private List<CoordinatorMessage> offers(String worker) {
    return sent(worker).stream().filter(CoordinatorMessage::hasOffer).toList();
  }

  private List<Assignment> preparations(String worker) {
    return sent(worker).stream()
        .filter(CoordinatorMessage::hasPrepare)
        .map(m -> m.getPrepare().getAssignment())
        .toList();
  }

  private CoordinatorMessage last(String worker) {
    return sent(worker).get(sent(worker).size() - 1);
  }

  private void begin(LeaseRef lease, long step, String checkpoint) {
    run(
        s -> {
          s.beginAttempt(
              BeginAttemptRequest.newBuilder()
                  .setLease(lease)
                  .setResumedStep(step)
                  .setCheckpointId(checkpoint)
                  .setKind("cpu 1 thread")
                  .setTotalSteps(10)
                  .build(),
              now());
          return "";
        });
  }

  private String upload(LeaseRef lease) {
    String id = "upload-" + ++uploads;
    run(
        s ->
            s.createUpload(
                CreateUploadRequest.newBuilder()
                    .setLease(lease)
                    .setUploadId(id)
                    .setContent(
                        UploadContent.newBuilder()
                            .setBytes(8)
                            .setSha256("00")
                            .addParts(UploadPart.newBuilder().setBytes(8)))
                    .build(),
                now()));
    return id;
  }

  private String commit(LeaseRef lease, String upload, long step, boolean release) {
    return run(
        s ->
            s.commitCheckpoint(
                CommitCheckpointRequest.newBuilder()
                    .setLease(lease)
                    .setUpload(CompletedUpload.newBuilder().setUploadId(upload))
                    .setStep(step)
                    .addPoints(point(step))
                    .setRelease(release)
                    .build(),
                now()));
  }

  private static MetricPoint point(long step) {
    return MetricPoint.newBuilder()
        .setSeries("train/loss")
        .setStep(step)
        .setValue(1.0 / step)
        .build();
  }

  private void finish(LeaseRef lease, AttemptOutcome outcome, String message) {
    run(
        s -> {
          s.finishAttempt(
              FinishAttemptRequest.newBuilder()
                  .setLease(lease)
                  .setOutcome(outcome)
                  .setMessage(message)
                  .setLastStep(5)
                  .addPoints(point(5))
                  .setResult(Result.newBuilder().setWeightsSha256("abc").setExact(true))
                  .build(),
              now());
          return "";
        });
  }

  private dev.baton.v1.Job view(String job) {
    return run(s -> s.view(job, now()));
  }

  private static void assertRefused(CoordinatorException.Kind kind, ThrowingCallable call) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            CoordinatorException.class, e -> assertThat(e.kind()).isEqualTo(kind));
  }

  // ---- Submission

  @Test
  void aRepeatedRequestFindsTheFirstJob() {
    String first = run(s -> s.submit("same", spec().build(), now()));
    String again = run(s -> s.submit("same", spec().build(), now()));
    String broken = run(s -> s.submit("same", JobSpec.getDefaultInstance(), now()));
    assertThat(again).isEqualTo(first);
    assertThat(broken).isEqualTo(first);
    assertThat(database.stores().jobs().lastSeq()).isEqualTo(1);
  }

  @Test
  void aWaitingJobSaysWhy() {
    String job = submit(spec().setResources(Resources.newBuilder().setGpus(1)));
    assertThat(view(job).getReason()).isEqualTo("no worker is connected");
    hello("a", 1);
    assertThat(view(job).getReason())
        .isEqualTo("none of 1 connected workers fits (a: needs a GPU, it has none)");
    String small = submit();
    String next = submit();
    assertThat(view(small).getReason()).isEmpty();
    assertThat(view(next).getReason()).isEqualTo("the one worker that fits is busy");
  }

  @Test
  void jobsAreOfferedInOrderToWhoeverHasRoom() {
    String first = submit();
    String second = submit();
    String third = submit();
    hello("a", 1);
    hello("b", 1);
    assertThat(offered("a").getJobId()).isEqualTo(first);
    assertThat(offered("b").getJobId()).isEqualTo(second);
    begin(offered("b"), 0, "");
    finish(offered("b"), AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED, "");
    assertThat(offered("b").getJobId()).isEqualTo(third);
  }

  @Test
  void aJobThatFitsNobodyDoesNotHoldUpTheOthers() {
    submit(spec().setResources(Resources.newBuilder().setCpus(64)));
    String small = submit();
    hello("a", 1);
    assertThat(offered("a").getJobId()).isEqualTo(small);
  }

  // ---- Lease arithmetic

  @Test
  void silenceCostsTheWholeLeaseAndNotAMomentLess() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    advance(3_000);
    beat("a", 1, lease);
    advance(10_000);
    hello("b", 1);
    advance(4_950);
    assertThat(offers("b")).isEmpty();
    assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_RUNNING);
    advance(50);
    assertThat(offered("b").getTerm()).isEqualTo(2);
    assertThat(view(job).getAttempts(0).getEndReason()).isEqualTo("lease expired");
    beat("a", 1, lease);
    assertThat(last("a").getHeartbeatReply().getEndedList()).containsExactly(lease);
    assertRefused(CoordinatorException.Kind.ABORTED, () -> begin(lease, 0, ""));
  }

  @Test
  void aLeaseThatIsNotListedIsNotRenewed() {
    submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    hello("b", 1);
    for (int i = 0; i < 5; i++) {
      advance(3_000);
      beat("a", 1);
      beat("b", 1);
    }
    assertThat(offered("b").getTerm()).isEqualTo(lease.getTerm() + 1);
  }

  @Test
  void aBrokenStreamCostsTheGraceAndTheStandbyIsToldAtOnce() {
    submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    hello("b", 1);
    begin(lease, 0, "");
    beat("a", 1, lease);
    assertThat(preparations("b")).hasSize(1);
    assertThat(preparations("b").get(0).getStageOnly()).isTrue();
    String upload = upload(lease);
    commit(lease, upload, 4, false);

    broken("a", 1);
    assertThat(preparations("b")).hasSize(2);
    assertThat(preparations("b").get(1).getStageOnly()).isFalse();
    assertThat(preparations("b").get(1).getCheckpoints(0).getStep()).isEqualTo(4);
    advance(1_950);
    assertThat(offers("b")).isEmpty();
    advance(50);
    assertThat(offered("b").getTerm()).isEqualTo(2);
    assertThat(offers("b").get(0).getOffer().getAssignment().getCheckpoints(0).getCheckpointId())
        .isEqualTo(upload);
  }

  @Test
  void whoReturnsWithinTheGraceGoesOnWithTheSameTerm() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    hello("b", 1);
    broken("a", 1);
    advance(1_900);
    hello("a", 2, lease);
    assertThat(last("a").getWelcome().getRenewedList()).containsExactly(lease);
    for (int i = 0; i < 20; i++) {
      advance(3_000);
      beat("a", 2, lease);
      beat("b", 1);
    }
    assertThat(offers("b")).isEmpty();
    assertThat(view(job).getAttemptsCount()).isEqualTo(1);
  }

  @Test
  void anEndedLeaseIsLostOnlyWhenSomebodyTookTheNextTerm() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    broken("a", 1);
    advance(60_000);
    assertThat(view(job).getReason()).contains("worker a is silent").contains("no worker");
    begin(lease, 0, "");
    hello("a", 2, lease);
    assertThat(last("a").getWelcome().getRenewedList()).containsExactly(lease);
    hello("b", 1);
    advance(10_000);
    assertThat(offers("b")).isEmpty();
    assertThat(view(job).getAttemptsCount()).isEqualTo(1);
  }

  @Test
  void whatIsNotListedAtSessionStartEndsAtOnce() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    hello("b", 1);
    broken("a", 1);
    hello("a", 2);
    assertThat(offered("b").getTerm()).isEqualTo(lease.getTerm() + 1);
    assertThat(view(job).getAttempts(0).getEndReason()).isEqualTo("given up by its worker");
    assertThat(view(job).getFailures()).isZero();
  }

  @Test
  void theEndOfAnOlderSessionMeansNothing() {
    submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    hello("a", 2, lease);
    assertThat(effects).contains(new Effect.CloseSession("a", 1, "a newer session exists"));
    hello("b", 1);
    broken("a", 1);
    advance(5_000);
    assertThat(offers("b")).isEmpty();
    assertRefused(CoordinatorException.Kind.ABORTED, () -> hello("a", 2, lease));
    assertRefused(CoordinatorException.Kind.ABORTED, () -> beat("a", 1, lease));
  }

  // ---- The coordinator's own absence

  @Test
  void afterARestartNothingIsGivenAwayForOneLeaseAndWhoReturnsKeepsItsTerm() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    restart();
    hello("b", 1);
    advance(14_900);
    assertThat(offers("b")).isEmpty();
    hello("a", 2, lease);
    assertThat(last("a").getWelcome().getRenewedList()).containsExactly(lease);
    advance(3_000);
    beat("a", 2, lease);
    assertThat(offers("b")).isEmpty();
    assertThat(view(job).getAttemptsCount()).isEqualTo(1);
  }

  @Test
  void afterARestartAJobWithoutALeaseIsGivenAtOnceAndAnAbandonedOneAfterALease() {
    String held = submit();
    hello("a", 1);
    String queued = submit();
    restart();
    hello("b", 1);
    assertThat(offered("b").getJobId()).isEqualTo(queued);
    hello("c", 1);
    advance(10_000);
    beat("b", 1, offered("b"));
    beat("c", 1);
    advance(4_950);
    assertThat(offers("c")).isEmpty();
    advance(50);
    assertThat(offered("c").getJobId()).isEqualTo(held);
    assertThat(offered("c").getTerm()).isEqualTo(2);
  }

  @Test
  void aClockThatIsLateIsTreatedAsARestart() {
    submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    hello("b", 1);
    nanos += 30_000_000_000L;
    epochMs += 30_000;
    advance(14_900);
    assertThat(offers("b")).isEmpty();
    beat("a", 1, lease);
    beat("b", 1);
    advance(3_000);
    assertThat(offers("b")).isEmpty();
    advance(12_000);
    assertThat(offers("b")).isEmpty(); // b itself has been silent.
    beat("b", 1);
    assertThat(offered("b").getTerm()).isEqualTo(2);
  }

  @Test
  void aHostThatWasSuspendedShowsInTheWallClockAlone() {
    submit();
    hello("a", 1);
    hello("b", 1);
    advance(14_000);
    epochMs += 3_600_000;
    advance(14_000);
    assertThat(offers("b")).isEmpty();
  }

  @Test
  void aFailedTransactionIsForgottenAndSessionsStay() {
    hello("a", 1);
    database.begin();
    String lost = scheduler.submit("lost", spec().build(), now());
    database.rollback();
    scheduler.reload(now());
    assertThat(scheduler.drainEffects()).isEmpty();
    assertRefused(CoordinatorException.Kind.NOT_FOUND, () -> view(lost));
    assertThat(offers("a")).isEmpty();

    String job = submit();
    advance(1_100);
    assertThat(offered("a").getJobId()).isEqualTo(job);
    database.begin();
    scheduler.cancel(job, now());
    database.rollback();
    scheduler.reload(now());
    beat("a", 1, offered("a"));
    assertThat(last("a").getHeartbeatReply().getRenewedList()).containsExactly(offered("a"));
  }

  // ---- Terms

  @Test
  void anOlderTermCanCommitNothing() {
    String job = submit();
    hello("a", 1);
    LeaseRef old = offered("a");
    begin(old, 0, "");
    String late = upload(old);
    hello("b", 1);
    broken("a", 1);
    advance(2_000);
    LeaseRef lease = offered("b");
    begin(lease, 0, "");

    assertRefused(CoordinatorException.Kind.ABORTED, () -> commit(old, late, 4, false));
    assertRefused(CoordinatorException.Kind.ABORTED, () -> upload(old));
    assertRefused(
        CoordinatorException.Kind.ABORTED,
        () -> finish(old, AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED, ""));
    assertRefused(
        CoordinatorException.Kind.ABORTED,
        () ->
            run(
                s ->
                    s.appendLog(
                        AppendLogRequest.newBuilder()
                            .setLease(old)
                            .setData(ByteString.copyFromUtf8("late"))
                            .build(),
                        now())));
    LeaseRef forged = lease.toBuilder().setLeaseId("guessed").build();
    assertRefused(CoordinatorException.Kind.ABORTED, () -> upload(forged));
    assertThat(view(job).getCheckpointsList()).isEmpty();
    assertThat(database.stores().uploads().sweepable(0, 10))
        .extracting(Upload::uploadId)
        .containsExactly(late);
  }

  @Test
  void aRepeatedBeginWithdrawsNothingThatWasCommittedSince() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    commit(lease, upload(lease), 4, false);
    begin(lease, 0, "");
    assertThat(view(job).getCheckpointsList()).hasSize(1);
    assertThat(database.stores().jobs().metrics(job)).containsExactly(point(4));
  }

  @Test
  void aNewAttemptWithdrawsWhatLiesBeyondItsBeginAndSkipsTheDamaged() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    String whole = upload(lease);
    commit(lease, whole, 3, false);
    String damaged = upload(lease);
    commit(lease, damaged, 6, false);
    finish(lease, AttemptOutcome.ATTEMPT_OUTCOME_KILLED, "killed");
    LeaseRef next = offered("a");
    assertThat(next.getTerm()).isEqualTo(2);
    run(
        s -> {
          s.beginAttempt(
              BeginAttemptRequest.newBuilder()
                  .setLease(next)
                  .setResumedStep(3)
                  .setCheckpointId(whole)
                  .setKind("cpu 1 thread")
                  .addDamaged(
                      DamagedCheckpoint.newBuilder()
                          .setCheckpointId(damaged)
                          .setReason("its SHA-256 differs"))
                  .build(),
              now());
          return "";
        });
    assertThat(view(job).getCheckpointsList())
        .extracting(dev.baton.v1.Checkpoint::getStep)
        .containsExactly(3L);
    assertThat(database.stores().jobs().metrics(job)).containsExactly(point(3));
    assertThat(effects)
        .anyMatch(
            e ->
                e instanceof Effect.Notify n
                    && n.event().getEvent().equals("checkpoint_damaged")
                    && n.event().getMessage().contains("step 6 is damaged: its SHA-256 differs"));
    assertThat(database.stores().uploads().find(damaged).orElseThrow().state())
        .isEqualTo(Upload.State.DISCARDED);
  }

  @Test
  void commitsAreIdempotentKeepTheLastOnesAndRefuseToGoBack() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    List<String> ids = new ArrayList<>();
    for (int step = 1; step <= 5; step++) {
      String upload = upload(lease);
      ids.add(commit(lease, upload, step, false));
      assertThat(commit(lease, upload, step, false)).isEqualTo(upload);
    }
    assertThat(view(job).getCheckpointsList())
        .extracting(dev.baton.v1.Checkpoint::getCheckpointId)
        .containsExactlyElementsOf(ids.subList(2, 5));
    String back = upload(lease);
    assertRefused(CoordinatorException.Kind.INVALID_ARGUMENT, () -> commit(lease, back, 4, false));
    commit(lease, back, 5, true);
    assertThat(commit(lease, back, 5, true)).isEqualTo(back);
    assertThat(view(job).getCheckpointsCount()).isEqualTo(3);
    assertThat(view(job).getAttempts(0).getEndReason()).isEqualTo("handed over");
  }

  // ---- Hand-over, pause, cancel

  @Test
  void aHandOverGoesAtOnceToTheOneWhoStandsBy() {
    submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    hello("b", 1);
    begin(lease, 0, "");
    run(
        s -> {
          s.draining("a", 1, Draining.newBuilder().setReason("SIGTERM").build(), now());
          return "";
        });
    assertThat(preparations("b")).hasSize(1);
    commit(lease, upload(lease), 7, true);
    assertThat(offered("b").getTerm()).isEqualTo(2);
    assertThat(offers("b").get(0).getOffer().getAssignment().getCheckpoints(0).getStep())
        .isEqualTo(7);
    submit();
    assertThat(offers("a")).hasSize(1);
  }

  @Test
  void aWorkerThatHasRestedTakesOffersAgain() {
    hello("a", 1);
    draining("a", Draining.newBuilder().setReason("outside its hours").build());
    submit();
    assertThat(offers("a")).isEmpty();
    draining("a", Draining.newBuilder().setOver(true).build());
    assertThat(offers("a")).hasSize(1);
    // But not where somebody else wants it drained.
    run(s -> s.drainWorker("a", now()));
    draining("a", Draining.newBuilder().setOver(true).build());
    submit();
    assertThat(offers("a")).hasSize(1);
  }

  private void draining(String worker, Draining message) {
    run(
        s -> {
          s.draining(worker, 1, message, now());
          return "";
        });
  }

  @Test
  void drainingAWorkerIsAskedAgainInEachSession() {
    hello("a", 1);
    run(s -> s.drainWorker("a", now()));
    assertThat(last("a").getOrder().getKind()).isEqualTo(OrderKind.ORDER_KIND_DRAIN);
    hello("a", 2);
    assertThat(last("a").getOrder().getKind()).isEqualTo(OrderKind.ORDER_KIND_DRAIN);
    submit();
    assertThat(offers("a")).isEmpty();
    assertRefused(
        CoordinatorException.Kind.NOT_FOUND, () -> run(s -> s.drainWorker("nobody", now())));
  }

  @Test
  void aPausedJobIsHandedBackAndWaitsUntilItIsResumed() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    run(
        s -> {
          s.pause(job, now());
          return "";
        });
    assertThat(last("a").getOrder().getKind()).isEqualTo(OrderKind.ORDER_KIND_HAND_OVER);
    assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_RUNNING);
    commit(lease, upload(lease), 7, true);
    assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_PAUSED);
    restart();
    hello("a", 2);
    assertThat(offers("a")).isEmpty();
    run(
        s -> {
          s.resume(job, now());
          return "";
        });
    assertThat(offered("a").getTerm()).isEqualTo(2);
  }

  @Test
  void theOrderToHandOverIsRepeatedInANewSession() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    run(
        s -> {
          s.pause(job, now());
          return "";
        });
    effects.clear();
    hello("a", 2, lease);
    assertThat(last("a").getOrder().getKind()).isEqualTo(OrderKind.ORDER_KIND_HAND_OVER);
    assertThat(last("a").getOrder().getLease()).isEqualTo(lease);
  }

  @Test
  void anUploadServesOnlyTheLeaseThatBeganIt() {
    submit();
    submit();
    hello("a", 1);
    hello("b", 1);
    begin(offered("a"), 0, "");
    begin(offered("b"), 0, "");
    String ofA = upload(offered("a"));
    commit(offered("a"), ofA, 3, false);
    assertRefused(
        CoordinatorException.Kind.INVALID_ARGUMENT, () -> commit(offered("b"), ofA, 3, false));
    assertRefused(
        CoordinatorException.Kind.INVALID_ARGUMENT,
        () -> run(s -> s.uploadOf(offered("b"), "unknown")));
  }

  @Test
  void aJobBeingPausedWhoseWorkerVanishesIsPaused() {
    String job = submit();
    hello("a", 1);
    begin(offered("a"), 0, "");
    run(
        s -> {
          s.pause(job, now());
          return "";
        });
    broken("a", 1);
    advance(2_000);
    assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_PAUSED);
  }

  @Test
  void cancelEndsTheTermAtOnce() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    for (int i = 0; i < 2; i++) {
      run(
          s -> {
            s.cancel(job, now());
            return "";
          });
    }
    assertThat(last("a").getOrder().getKind()).isEqualTo(OrderKind.ORDER_KIND_CANCEL);
    assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_CANCELLED);
    assertThat(effects).contains(new Effect.Ended(job));
    assertRefused(
        CoordinatorException.Kind.ABORTED,
        () -> finish(lease, AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED, ""));
    assertRefused(
        CoordinatorException.Kind.FAILED_PRECONDITION,
        () ->
            run(
                s -> {
                  s.pause(job, now());
                  return "";
                }));
  }

  // ---- Ends

  @Test
  void aJobThatSucceedsKeepsItsResultAndItsEndMayBeRepeated() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    finish(lease, AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED, "");
    finish(lease, AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED, "");
    dev.baton.v1.Job view = view(job);
    assertThat(view.getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_SUCCEEDED);
    assertThat(view.getResult().getWeightsSha256()).isEqualTo("abc");
    assertThat(view.getResult().getExact()).isTrue();
    assertThat(view.getProgress().getStep()).isEqualTo(5);
    assertThat(view.getAttempts(0).getFirstStep()).isEqualTo(1);
    assertThat(view.getAttempts(0).getLastStep()).isEqualTo(5);
    assertThat(database.stores().jobs().metrics(job)).containsExactly(point(5));
  }

  @Test
  void theUsersErrorsEndTheJobAtOnceAndSayIt() {
    hello("a", 1);
    for (AttemptOutcome outcome :
        List.of(
            AttemptOutcome.ATTEMPT_OUTCOME_USER_ERROR,
            AttemptOutcome.ATTEMPT_OUTCOME_NAN_LOSS,
            AttemptOutcome.ATTEMPT_OUTCOME_OUT_OF_MEMORY)) {
      String job = submit();
      begin(offered("a"), 0, "");
      finish(offered("a"), outcome, "the loss is NaN at step 7; use a smaller lr");
      assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_FAILED);
      assertThat(view(job).getReason()).isEqualTo("the loss is NaN at step 7; use a smaller lr");
      assertThat(view(job).getAttemptsCount()).isEqualTo(1);
    }
  }

  @Test
  void aCrashWaitsItsBackoffEvenAcrossARestart() {
    String job = submit();
    hello("a", 1);
    begin(offered("a"), 0, "");
    finish(offered("a"), AttemptOutcome.ATTEMPT_OUTCOME_CRASHED, "SIGSEGV");
    assertThat(view(job).getReason())
        .isEqualTo("SIGSEGV; retry 1 of 3; waits 10 s before it is tried again");
    assertThat(preparations("a")).hasSize(1);
    restart();
    hello("a", 2);
    advance(6_000);
    beat("a", 2);
    advance(3_900);
    assertThat(offers("a")).isEmpty();
    advance(100);
    assertThat(offers("a")).hasSize(1);
    assertThat(view(job).getFailures()).isEqualTo(1);
  }

  @Test
  void tenAbruptEndsInARowAreEnough() {
    String job = submit();
    hello("a", 1);
    for (int i = 1; i <= 10; i++) {
      assertThat(offered("a").getTerm()).isEqualTo(i);
      begin(offered("a"), 0, "");
      finish(offered("a"), AttemptOutcome.ATTEMPT_OUTCOME_KILLED, "killed by SIGKILL");
    }
    assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_FAILED);
    assertThat(view(job).getReason())
        .startsWith("ended abruptly")
        .contains("10 times in a row without a new checkpoint; the last time: killed by SIGKILL");
  }

  @Test
  void tenErrorsOfWorkersInARowAreEnoughEvenAcrossARestart() {
    String job = submit();
    hello("a", 1);
    for (int i = 1; i <= 10; i++) {
      if (i == 6) {
        restart();
        hello("a", 2);
        advance(15_000);
      }
      // The waits double up to five minutes.
      for (int s = 0; s < 310 && offers("a").size() < (i < 6 ? i : i - 5); s++) {
        advance(1_000);
        beat("a", i < 6 ? 1 : 2);
      }
      assertThat(offered("a").getTerm()).isEqualTo(i);
      finish(offered("a"), AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR, "disk full");
    }
    assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_FAILED);
    assertThat(view(job).getReason())
        .contains("error of its worker 10 times in a row without a new checkpoint")
        .endsWith("the last time: disk full");
  }

  @Test
  void offersThatComeBackAreNeverEnough() {
    String job = submit();
    hello("a", 1);
    for (int i = 1; i <= 12; i++) {
      for (int s = 0; s < 310 && offers("a").size() < i; s++) {
        advance(1_000);
        beat("a", 1);
      }
      finish(offered("a"), AttemptOutcome.ATTEMPT_OUTCOME_RELEASED, "no room");
    }
    assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_QUEUED);
  }

  @Test
  void aWorkersOwnTroubleCostsNothingAndTheJobGoesElsewhere() {
    String job = submit();
    hello("a", 1);
    begin(offered("a"), 0, "");
    hello("b", 1);
    finish(offered("a"), AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR, "disk full");
    advance(4_900);
    assertThat(offers("b")).isEmpty();
    advance(100);
    assertThat(offered("b").getJobId()).isEqualTo(job);
    assertThat(view(job).getFailures()).isZero();
  }

  @Test
  void anOfferThatComesBackGoesToTheOther() {
    hello("a", 1);
    hello("b", 1);
    submit();
    finish(offered("a"), AttemptOutcome.ATTEMPT_OUTCOME_RELEASED, "no room");
    assertThat(offered("b").getTerm()).isEqualTo(2);
    finish(offered("b"), AttemptOutcome.ATTEMPT_OUTCOME_RELEASED, "no room");
    assertThat(offers("a")).hasSize(1);
    advance(1_000);
    assertThat(offers("a").size() + offers("b").size()).isEqualTo(3);
  }

  // ---- Kinds

  @Test
  void exactIsFalseOnceTheKindChanged() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    String checkpoint = upload(lease);
    commit(lease, checkpoint, 2, true);
    LeaseRef next = offered("a");
    run(
        s -> {
          s.beginAttempt(
              BeginAttemptRequest.newBuilder()
                  .setLease(next)
                  .setResumedStep(2)
                  .setCheckpointId(checkpoint)
                  .setKind("another cpu")
                  .build(),
              now());
          return "";
        });
    finish(next, AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED, "");
    assertThat(view(job).getResult().getExact()).isFalse();
  }

  @Test
  void sameKindWaitsForTheMachineItBeganOn() {
    String job = submit(spec().setResources(spec().getResourcesBuilder().setSameKind(true)));
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    hello("other", 1, machine().toBuilder().setCpuModel("another").build());
    broken("a", 1);
    advance(20_000);
    assertThat(offers("other")).isEmpty();
    assertThat(view(job).getReason()).contains("wants the same kind, cpu libtorch 2.10");
    hello("c", 1);
    assertThat(offered("c").getTerm()).isEqualTo(2);
  }

  @Test
  void gpusLeftOutMeansOneWhereTheWorkerHasOne() {
    Machine gpu =
        machine().toBuilder()
            .setCpus(8)
            .addGpus(dev.baton.v1.Gpu.newBuilder().setModel("T4"))
            .build();
    run(
        s -> {
          s.openSession(
              Hello.newBuilder()
                  .setWorkerId("g")
                  .setName("g")
                  .setSession(1)
                  .setSlots(4)
                  .setProtocol(1)
                  .setMachine(gpu)
                  .build(),
              now());
          return "";
        });
    JobSpec.Builder any =
        spec().setResources(Resources.newBuilder().setCpus(1).setMemory(1L << 30));
    submit(any);
    submit(any);
    assertThat(offers("g")).hasSize(1); // Its one GPU is taken.
    submit(spec());
    assertThat(offers("g")).hasSize(2);
  }

  // ---- Progress, logs, downloads

  @Test
  void progressIsToldOnceForEachStep() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    effects.clear();
    for (long step : new long[] {1, 3, 3, 2}) {
      run(
          s -> {
            s.progress(
                "a",
                1,
                ProgressReport.newBuilder()
                    .setLease(lease)
                    .setFirstStep(1)
                    .setProgress(Progress.newBuilder().setStep(step).setLoss(0.5))
                    .build(),
                now());
            return "";
          });
    }
    List<Long> steps = new ArrayList<>();
    for (Effect effect : effects) {
      if (effect instanceof Effect.Notify n && n.event().hasStep()) {
        steps.add(n.event().getStep());
      }
    }
    assertThat(steps).containsExactly(1L, 3L);
    assertThat(view(job).getProgress().getStep()).isEqualTo(3);
    assertThat(view(job).getProgress().getTotalSteps()).isEqualTo(10);
    assertThat(view(job).getAttempts(0).getLastStep()).isEqualTo(3);
  }

  @Test
  void aJobWhoseWorkerCannotStoreSaysSoUntilItCan() {
    hello("a", 1);
    String job = submit();
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    effects.clear();
    for (int i = 0; i < 3; i++) {
      run(
          s -> {
            s.storageRefused(lease, "the disk is full", now());
            return "";
          });
    }
    assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_RUNNING);
    assertThat(view(job).getReason()).contains("cannot store").endsWith(": the disk is full");
    assertThat(effects)
        .filteredOn(e -> e instanceof Effect.Notify)
        .singleElement()
        .asString()
        .contains("the disk is full");
    commit(lease, upload(lease), 5, false);
    assertThat(view(job).getReason()).isEmpty();
    run(
        s -> {
          s.storageRefused(lease.toBuilder().setTerm(7).build(), "of another term", now());
          return "";
        });
    assertThat(view(job).getReason()).isEmpty();
  }

  @Test
  void logPiecesAreStoredOnceInOrder() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    assertThat(log(lease, 0, "hello ")).isEqualTo(6);
    assertThat(log(lease, 0, "hello ")).isEqualTo(6);
    assertThat(log(lease, 3, "lo world")).isEqualTo(11);
    assertThat(log(lease, 50, "gap")).isEqualTo(11);
    begin(lease, 0, "");
    finish(lease, AttemptOutcome.ATTEMPT_OUTCOME_KILLED, "killed");
    assertThat(log(offered("a"), 0, " again")).isEqualTo(6);
    assertThat(database.stores().logs().read(job, 0, 100).toStringUtf8())
        .isEqualTo("hello world again");
    assertThat(effects).contains(new Effect.LogGrew(job, 17));
  }

  private long log(LeaseRef lease, long offset, String text) {
    return run(
        s ->
            s.appendLog(
                AppendLogRequest.newBuilder()
                    .setLease(lease)
                    .setOffset(offset)
                    .setData(ByteString.copyFromUtf8(text))
                    .build(),
                now()));
  }

  @Test
  void onlyWhoHoldsOrPreparesAJobMayReadItsCheckpoints() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    String checkpoint = upload(lease);
    commit(lease, checkpoint, 4, false);
    CreateDownloadRequest request =
        CreateDownloadRequest.newBuilder()
            .setWorkerId("b")
            .setJobId(job)
            .setCheckpointId(checkpoint)
            .build();
    assertRefused(CoordinatorException.Kind.PERMISSION_DENIED, () -> run(s -> s.download(request)));
    hello("b", 1);
    assertRefused(CoordinatorException.Kind.PERMISSION_DENIED, () -> run(s -> s.download(request)));
    beat("a", 1, lease);
    assertThat(preparations("b")).isNotEmpty();
    assertThat(run(s -> s.download(request)).objectKey()).startsWith("jobs/" + job + "/1/");
  }

  @Test
  void aStandbyThatGetsAnotherJobIsRelievedAndReplaced() {
    submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    hello("b", 1);
    begin(lease, 0, "");
    beat("a", 1, lease);
    submit();
    assertThat(offers("b")).hasSize(1);
    assertThat(sent("b").stream().filter(CoordinatorMessage::hasUnprepare)).hasSize(1);
    hello("c", 1);
    beat("a", 1, lease);
    assertThat(preparations("c")).hasSize(1);
  }

  @Test
  void aHundredThousandJobsInTheQueueMakeNoEventSlow() {
    JobSpec spec = spec().build();
    database.begin();
    for (int i = 0; i < 100_000; i++) {
      scheduler.submit("many-" + i, spec, now());
    }
    database.commit();
    scheduler.drainEffects();
    long began = System.nanoTime();
    for (int i = 0; i < 1_000; i++) {
      hello("w" + i, 1);
      beat("w" + i, 1, offered("w" + i));
      effects.clear();
    }
    advance(1_000);
    // Walking the queue on each of these events would take minutes.
    assertThat(System.nanoTime() - began).isLessThan(20_000_000_000L);
    assertThat(Objects.requireNonNull(scheduler.workers())).hasSize(1_000);
  }
}
