package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.protobuf.ByteString;
import dev.baton.v1.AppendLogRequest;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.DamagedCheckpoint;
import dev.baton.v1.Hello;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Resources;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** How jobs are submitted, and who holds their leases for how long. */
final class SchedulerTest extends CoreByHand {

  // ---- Submission

  @Test
  void aRepeatedRequestFindsTheFirstJob() {
    String first = ask(s -> s.submit("same", spec().build(), now()));
    String again = ask(s -> s.submit("same", spec().build(), now()));
    String broken = ask(s -> s.submit("same", JobSpec.getDefaultInstance(), now()));
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
  void aLiveWorkerThatListsALeaseNoMoreGetsItsSlotBack() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    String second = submit();
    for (int i = 1; i <= 7; i++) {
      advance(3_000);
      beat("a", 1);
      assertThat(offers("a")).as("after %d s", 3 * i).hasSize(i < 5 ? 1 : 2);
    }
    assertThat(offered("a").getJobId()).isEqualTo(job);
    assertThat(offered("a").getTerm()).isEqualTo(2);
    assertThat(view(job).getAttempts(0).getEndReason()).isEqualTo("given up by its worker");
    assertThat(view(job).getFailures()).isZero();
    begin(offered("a"), 0, "");
    finish(offered("a"), AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED, "");
    assertThat(offered("a").getJobId()).isEqualTo(second);
  }

  @Test
  void aLiveWorkerThatListsOneOfItsTwoLeasesKeepsThatOne() {
    submit();
    String dropped = submit();
    tell(
        s ->
            s.openSession(
                Hello.newBuilder()
                    .setWorkerId("a")
                    .setName("a")
                    .setSession(1)
                    .setSlots(2)
                    .setProtocol(1)
                    .setMachine(machine())
                    .build(),
                now()));
    LeaseRef kept = offers("a").get(0).getOffer().getLease();
    for (int i = 0; i < 7; i++) {
      advance(3_000);
      beat("a", 1, kept);
    }
    assertThat(offers("a")).hasSize(3);
    assertThat(offered("a").getJobId()).isEqualTo(dropped);
    assertThat(view(kept.getJobId()).getAttemptsCount()).isEqualTo(1);
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
    later(30_000);
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
    setWallClockForward(3_600_000);
    advance(14_000);
    assertThat(offers("b")).isEmpty();
  }

  @Test
  void aFailedTransactionIsForgottenAndSessionsStay() {
    hello("a", 1);
    effects.clear();
    List<String> lost = new ArrayList<>();
    fail(s -> lost.add(s.submit("lost", spec().build(), now())));
    assertThat(effects).isEmpty();
    assertRefused(CoordinatorException.Kind.NOT_FOUND, () -> view(lost.get(0)));
    assertThat(offers("a")).isEmpty();

    String job = submit();
    advance(1_100);
    assertThat(offered("a").getJobId()).isEqualTo(job);
    fail(s -> s.cancel(job, now()));
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
            ask(
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
    tell(
        s ->
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
                now()));
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
}
