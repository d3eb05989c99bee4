package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.v1.AppendLogRequest;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.JobState;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Offer;
import dev.baton.v1.Order;
import dev.baton.v1.OrderKind;
import dev.baton.v1.ReplicaProgress;
import java.util.List;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;

/**
 * What becomes of a gang when its members come, fail and go. Heartbeats each 3 s, a lease of 15 s.
 */
final class GangTest {
  private final GangWorld world = new GangWorld();

  private static void assertRefused(CoordinatorException.Kind kind, ThrowingCallable call) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            CoordinatorException.class, e -> assertThat(e.kind()).isEqualTo(kind));
  }

  private GangWorld.Daemon onHost(String id, int slots) {
    return world.worker(id, slots, hello -> hello.setHostId("shared"));
  }

  /** A job of three replicas on a, b, c of one machine, formed and at step 10. */
  private String three(int min) {
    onHost("a", 1);
    onHost("b", 1);
    onHost("c", 1);
    String job = world.submit(min, 3);
    world.form(job, 0);
    world.advance(3_000);
    world.daemon("a").reports(world.leases(job).get(0), 10, 0.1);
    return job;
  }

  private GangWorld.Daemon d(String id) {
    return world.daemon(id);
  }

  // ---- Forming

  @Test
  void everyRankHasItsOwnOfferOfOneTerm() {
    GangWorld.Daemon a = world.worker("a", 4);
    String job = world.submit(2, 3);
    assertThat(a.offers()).hasSize(3);
    for (int rank = 0; rank < 3; rank++) {
      Offer offer = a.offers().get(rank);
      assertThat(offer.getLease().getRank()).isEqualTo(rank);
      assertThat(offer.getLease().getTerm()).isEqualTo(1);
      assertThat(offer.getAssignment().getWorldSize()).isEqualTo(3);
      assertThat(offer.getAssignment().getGroup()).isEqualTo(job + "/1");
      assertThat(offer.getAssignment().getAddress()).isEqualTo("127.0.0.1");
      assertThat(offer.hasContinues()).isFalse();
    }
    assertThat(world.members(job)).containsExactly("a", "a", "a");
  }

  @Test
  void aJobOfOneReplicaHearsNothingOfGroups() {
    GangWorld.Daemon a = world.worker("a", 4);
    world.submit(1, 1);
    assertThat(a.offer().getAssignment().getGroup()).isEmpty();
    assertThat(a.offer().getAssignment().getWorldSize()).isEqualTo(1);
  }

  @Test
  void theGroupIsReadyWhenAllWait() {
    GangWorld.Daemon a = world.worker("a", 2);
    String job = world.submit(2, 2);
    List<LeaseRef> leases = world.leases(job);
    a.waits(leases.get(0));
    assertThat(a.last().hasGroupReady()).isFalse();
    assertThat(world.why(job)).isEqualTo("1 of 2 replicas are ready to begin");
    a.waits(leases.get(1));
    assertThat(a.last().getGroupReady().getLease()).isEqualTo(leases.get(1));
    assertThat(a.last().getGroupReady().getStoreHost()).isEqualTo("127.0.0.1");
    assertThat(a.last().getGroupReady().getStorePort()).isEqualTo(4711);
    // Whoever asks again did not hear it.
    long before = world.effects.size();
    a.waits(leases.get(0));
    assertThat(world.effects).hasSize((int) before + 1);
    assertThat(a.last().getGroupReady().getLease()).isEqualTo(leases.get(0));
  }

  @Test
  void aGangOfOneFormsAGroupToo() {
    GangWorld.Daemon a = world.worker("a", 1);
    String job = world.submit(1, 4);
    assertThat(a.offer().getAssignment().getGroup()).isEqualTo(job + "/1");
    a.waits(a.lease());
    assertThat(a.last().hasGroupReady()).isTrue();
  }

  @Test
  void onlyRankZeroStoresAndSucceeds() {
    world.worker("a", 2);
    String job = world.submit(2, 2);
    List<LeaseRef> leases = world.leases(job);
    LeaseRef one = leases.get(1);
    assertRefused(CoordinatorException.Kind.INVALID_ARGUMENT, () -> world.begin(one, 0, false));
    world.form(job, 0);
    assertRefused(CoordinatorException.Kind.INVALID_ARGUMENT, () -> world.upload(one));
    String upload = world.upload(leases.get(0));
    assertRefused(
        CoordinatorException.Kind.INVALID_ARGUMENT, () -> world.commit(one, upload, 5, false));
    assertRefused(
        CoordinatorException.Kind.INVALID_ARGUMENT,
        () -> world.finish(one, AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED));
    assertRefused(
        CoordinatorException.Kind.INVALID_ARGUMENT,
        () ->
            world.tell(
                s ->
                    s.appendLog(AppendLogRequest.newBuilder().setLease(one).build(), world.now())));
    assertThatThrownBy(() -> world.upload(one))
        .hasMessage("lease.rank: it is 1, but CreateUpload is for rank 0 alone");
  }

  @Test
  void theOthersHearOfEachCheckpointAndAreStoppedAtTheEnd() {
    String job = three(2);
    List<LeaseRef> leases = world.leases(job);
    world.commit(leases.get(0), 12, false);
    assertThat(d("b").last().getCheckpointKept().getLease()).isEqualTo(leases.get(1));
    assertThat(d("b").last().getCheckpointKept().getStep()).isEqualTo(12);
    assertThat(d("a").last().hasCheckpointKept()).isFalse();
    world.finish(leases.get(0), AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_SUCCEEDED);
    assertThat(d("a").orders()).isEmpty();
    assertThat(d("b").orders())
        .extracting(Order::getLease, Order::getKind)
        .containsExactly(
            org.assertj.core.groups.Tuple.tuple(leases.get(1), OrderKind.ORDER_KIND_CANCEL));
    assertThat(d("c").orders()).hasSize(1);
  }

  @Test
  void progressHasEveryReplicaAndTheOneThatTheOthersWaitFor() {
    String job = three(2);
    List<LeaseRef> leases = world.leases(job);
    d("b").reports(leases.get(1), 999, 0.02);
    d("c").reports(leases.get(2), 11, 0.3);
    d("a").reports(leases.get(0), 11, 0.2);
    dev.baton.v1.Progress progress = world.view(job).getProgress();
    assertThat(progress.getStep()).isEqualTo(11);
    assertThat(progress.getReplicasList())
        .extracting(ReplicaProgress::getRank, ReplicaProgress::getWorker)
        .containsExactly(
            org.assertj.core.groups.Tuple.tuple(0, "a"),
            org.assertj.core.groups.Tuple.tuple(1, "b"),
            org.assertj.core.groups.Tuple.tuple(2, "c"));
    assertThat(progress.getSlowestRank()).isEqualTo(1);
  }

  // ---- Losing members

  @Test
  void aKilledTrainerCostsTheOthersNothing() {
    String job = three(2);
    List<LeaseRef> old = world.leases(job);
    world.finish(old.get(1), AttemptOutcome.ATTEMPT_OUTCOME_KILLED);
    assertThat(world.members(job)).containsExactly("a", "c");
    assertThat(world.term(job)).isEqualTo(2);
    assertThat(d("a").offer().getContinues()).isEqualTo(old.get(0));
    assertThat(d("c").offer().getContinues()).isEqualTo(old.get(2));
    assertThat(d("c").lease().getRank()).isEqualTo(1);
    assertThat(d("c").offer().getAssignment().getWorldSize()).isEqualTo(2);
    assertRefused(CoordinatorException.Kind.ABORTED, () -> world.upload(old.get(0)));
    assertThat(world.events(job, "regrouped"))
        .containsExactly("replicas: 2 of 3 on a, c; lost b: its worker gave it up");
    world.form(job, 14);
    assertThat(world.view(job).getAttempts(1).getFirstStep()).isZero();
    d("a").reports(world.leases(job).get(0), 15, 0);
    assertThat(world.view(job).getAttempts(1).getFirstStep()).isEqualTo(15);
    assertThat(world.view(job).getFailures()).isZero();
    assertThat(world.database.stores().jobs().find(job).orElseThrow().failures())
        .isEqualTo(Failures.NONE);
  }

  @Test
  void whereRankZeroIsLostTheNextOneSpeaksForTheJob() {
    String job = three(1);
    world.commit(world.leases(job).get(0), 9, false);
    world.finish(world.leases(job).get(0), AttemptOutcome.ATTEMPT_OUTCOME_KILLED);
    assertThat(world.members(job)).containsExactly("b", "c");
    world.form(job, 12);
    LeaseRef first = world.leases(job).get(0);
    world.commit(first, 20, false);
    world.finish(first, AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_SUCCEEDED);
  }

  @Test
  void aBrokenStreamEndsAMemberAtOnceWhereTheGroupBrokeToo() {
    String job = three(2);
    d("c").disconnect();
    assertThat(world.term(job)).isEqualTo(1);
    d("a").broke(world.leases(job).get(0));
    assertThat(world.term(job)).isEqualTo(2);
    assertThat(world.members(job)).containsExactly("a", "b");
    assertThat(world.events(job, "regrouped").get(0)).endsWith("lost c: its stream broke");
  }

  @Test
  void aGroupThatBrokeWaitsAMomentForNewsOfWhoIsMissing() {
    String job = three(2);
    d("a").broke(world.leases(job).get(0));
    d("b").broke(world.leases(job).get(1));
    world.advance(200);
    assertThat(world.term(job)).isEqualTo(1);
    d("c").disconnect();
    assertThat(world.members(job)).containsExactly("a", "b");
  }

  @Test
  void whereNobodyIsMissingTheSameGoOn() {
    String job = three(2);
    d("a").broke(world.leases(job).get(0));
    world.advance(200);
    assertThat(world.term(job)).isEqualTo(1);
    world.advance(50);
    assertThat(world.term(job)).isEqualTo(2);
    assertThat(world.members(job)).containsExactly("a", "b", "c");
    assertThat(world.events(job, "regrouped").get(0)).endsWith("the group broke: closed by peer");
  }

  @Test
  void onlyTheCurrentTermsNewsCount() {
    String job = three(2);
    LeaseRef old = world.leases(job).get(0);
    world.finish(world.leases(job).get(2), AttemptOutcome.ATTEMPT_OUTCOME_KILLED);
    d("a").broke(old);
    d("b").broke(world.leases(job).get(0));
    d("a").waits(old);
    world.advance(1_000);
    assertThat(world.term(job)).isEqualTo(2);
  }

  @Test
  void groupsThatNeverMakeAStepEndTheLease() {
    String job = three(2);
    long last = 0;
    for (int i = 0; i < 40 && world.view(job).getState() == JobState.JOB_STATE_RUNNING; i++) {
      last = world.term(job);
      d("a").broke(world.leases(job).get(0));
      world.advance(8_100);
      if (world.database.stores().jobs().find(job).orElseThrow().failures().abruptInARow() > 0) {
        break;
      }
    }
    assertThat(last).isEqualTo(1 + Gangs.FRUITLESS_LIMIT);
    assertThat(world.view(job).getAttempts((int) last - 1).getEndReason())
        .contains("times in a row: closed by peer");
  }

  @Test
  void aBrokenStreamAloneGetsTheGrace() {
    String job = three(2);
    d("c").disconnect();
    world.advance(1_900);
    assertThat(world.term(job)).isEqualTo(1);
    d("c").connect();
    world.advance(10_000);
    assertThat(world.term(job)).isEqualTo(1);
    d("c").disconnect();
    world.advance(2_100);
    assertThat(world.members(job)).containsExactly("a", "b");
  }

  @Test
  void aSilentMemberIsDroppedBeforeItsLeaseIsOver() {
    String job = three(2);
    d("c").beats = false;
    world.advance(6_000);
    assertThat(world.term(job)).isEqualTo(1);
    world.advance(4_500);
    assertThat(world.members(job)).containsExactly("a", "b");
    assertThat(d("c").orders().get(0).getKind()).isEqualTo(OrderKind.ORDER_KIND_CANCEL);
  }

  @Test
  void whereTooFewRemainASilentMemberHasItsWholeLease() {
    String job = three(3);
    d("c").beats = false;
    world.advance(9_000);
    assertThat(world.term(job)).isEqualTo(1);
    d("c").beats = true;
    world.advance(20_000);
    assertThat(world.term(job)).isEqualTo(1);
    d("c").beats = false;
    world.advance(18_500);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_QUEUED);
    assertThat(world.view(job).getAttempts(0).getEndReason()).isEqualTo("lease expired");
    assertThat(d("a").orders().get(0).getKind()).isEqualTo(OrderKind.ORDER_KIND_CANCEL);
    assertThat(d("b").orders().get(0).getKind()).isEqualTo(OrderKind.ORDER_KIND_CANCEL);
    d("c").beats = true;
    world.advance(3_500);
    assertThat(world.term(job)).isEqualTo(2);
    assertThat(world.members(job)).containsExactlyInAnyOrder("a", "b", "c");
  }

  @Test
  void whereTooFewRemainABrokenStreamHasTheGrace() {
    String job = three(3);
    d("c").disconnect();
    d("a").broke(world.leases(job).get(0));
    world.advance(1_900);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_RUNNING);
    world.advance(200);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_QUEUED);
    assertThat(world.view(job).getAttempts(0).getEndReason()).isEqualTo("worker lost");
  }

  @Test
  void whoeverReturnsWithinTheGraceMeetsTheOthersInANewTerm() {
    String job = three(3);
    d("c").disconnect();
    d("a").broke(world.leases(job).get(0));
    world.advance(1_000);
    d("c").connect();
    world.advance(300);
    assertThat(world.term(job)).isEqualTo(2);
    assertThat(world.members(job)).containsExactly("a", "b", "c");
  }

  @Test
  void whereAllWereSilentTheyGoOnInTheSameTermIfTheyReturnBeforeOthersCame() {
    String job = three(3);
    List.of("a", "b", "c").forEach(id -> d(id).disconnect());
    world.advance(30_000);
    assertThat(world.why(job)).startsWith("worker a, b, c is silent; ");
    d("a").connect();
    d("b").connect();
    world.advance(500);
    d("c").connect();
    world.advance(5_000);
    assertThat(world.term(job)).isEqualTo(1);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_RUNNING);
  }

  @Test
  void whereAllWereSilentAndTooFewReturnTheLeaseEnds() {
    String job = three(3);
    List.of("a", "b", "c").forEach(id -> d(id).disconnect());
    world.advance(30_000);
    d("a").connect();
    world.advance(2_500);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_QUEUED);
    assertThat(d("a").orders().get(0).getKind()).isEqualTo(OrderKind.ORDER_KIND_CANCEL);
  }

  @Test
  void aWorkerThatListsOnlySomeOfItsRanksGivesUpTheOthers() {
    GangWorld.Daemon a = world.worker("a", 3);
    String job = world.submit(2, 3);
    world.form(job, 0);
    world.advance(3_000);
    a.disconnect();
    a.leases.remove(world.leases(job).get(1));
    a.connect();
    assertThat(world.term(job)).isEqualTo(2);
    assertThat(world.members(job)).containsExactly("a", "a");
  }

  @Test
  void whoeverDoesNotComeToTheNextGroupIsDropped() {
    String job = three(1);
    world.finish(world.leases(job).get(2), AttemptOutcome.ATTEMPT_OUTCOME_KILLED);
    d("a").waits(world.leases(job).get(0));
    world.advance(59_000);
    assertThat(world.term(job)).isEqualTo(2);
    world.advance(1_500);
    assertThat(world.members(job)).containsExactly("a");
  }

  @Test
  void aFirstGrantMayTakeItsTimeToFetchData() {
    onHost("a", 1);
    onHost("b", 1);
    String job = world.submit(2, 2);
    world.advance(300_000);
    assertThat(world.term(job)).isEqualTo(1);
  }

  @Test
  void aCrashIsTheJobsOwnAndEndsTheLease() {
    world.worker("a", 3);
    String job =
        world.submit(GangWorld.spec(1, 3).setRetries(dev.baton.v1.Retries.newBuilder().setMax(2)));
    world.form(job, 0);
    world.finish(world.leases(job).get(2), AttemptOutcome.ATTEMPT_OUTCOME_CRASHED);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_QUEUED);
    assertThat(world.view(job).getFailures()).isEqualTo(1);
  }

  @Test
  void aUserErrorOfAnyRankEndsTheJob() {
    String job = three(1);
    world.finish(world.leases(job).get(2), AttemptOutcome.ATTEMPT_OUTCOME_OUT_OF_MEMORY);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_FAILED);
    assertThat(d("a").orders().get(0).getKind()).isEqualTo(OrderKind.ORDER_KIND_CANCEL);
    assertThat(d("c").orders()).isEmpty();
  }

  @Test
  void aRankThatIsGivenUpWhereTooFewRemainEndsTheLease() {
    String job = three(3);
    world.finish(world.leases(job).get(1), AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_QUEUED);
    assertThat(world.view(job).getAttempts(0).getEndReason()).isEqualTo("worker error");
  }

  @Test
  void aWorkerThatStopsListingItsRanksFreesTheirSlots() {
    GangWorld.Daemon a = world.worker("a", 2);
    String job = world.submit(2, 2);
    world.form(job, 0);
    a.beat();
    a.leases.clear();
    world.advance(18_000);
    assertThat(world.term(job)).isGreaterThan(1);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_RUNNING);
  }

  // ---- Leaving, pausing, cancelling

  @Test
  void aMemberThatLeavesIsLeftOutAtOnce() {
    String job = three(2);
    d("a").drain();
    assertThat(world.members(job)).containsExactly("b", "c");
    assertThat(d("a").orders())
        .extracting(Order::getKind)
        .containsExactly(OrderKind.ORDER_KIND_CANCEL);
    world.form(job, 11);
    world.commit(world.leases(job).get(0), 20, false);
  }

  @Test
  void whereTooFewWouldRemainRankZeroHandsOver() {
    String job = three(3);
    List<LeaseRef> leases = world.leases(job);
    d("c").drain();
    assertThat(d("a").orders())
        .extracting(Order::getLease, Order::getKind)
        .containsExactly(
            org.assertj.core.groups.Tuple.tuple(leases.get(0), OrderKind.ORDER_KIND_HAND_OVER));
    assertThat(world.term(job)).isEqualTo(1);
    // The one that leaves gives back its rank before rank 0 has stored the state.
    world.finish(leases.get(2), AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
    assertThat(world.term(job)).isEqualTo(1);
    world.commit(leases.get(0), 17, true);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_QUEUED);
    assertThat(world.view(job).getCheckpoints(0).getStep()).isEqualTo(17);
    assertThat(d("b").orders().get(0).getKind()).isEqualTo(OrderKind.ORDER_KIND_CANCEL);
    assertThat(world.why(job))
        .contains("needs 3 replicas at once: 2 of 3 fit now; all workers together have room for 2");
  }

  @Test
  void pauseIsRankZerosAndCancelIsForAll() {
    String job = three(2);
    List<LeaseRef> leases = world.leases(job);
    world.tell(s -> s.pause(job, world.now()));
    assertThat(d("a").orders().get(0).getKind()).isEqualTo(OrderKind.ORDER_KIND_HAND_OVER);
    assertThat(d("b").orders()).isEmpty();
    world.commit(leases.get(0), 17, true);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_PAUSED);
    assertThat(d("b").orders().get(0).getKind()).isEqualTo(OrderKind.ORDER_KIND_CANCEL);
    world.tell(s -> s.resume(job, world.now()));
    assertThat(world.term(job)).isEqualTo(2);
    world.tell(s -> s.cancel(job, world.now()));
    for (String id : List.of("a", "b", "c")) {
      assertThat(d(id).orders().get(d(id).orders().size() - 1).getKind())
          .isEqualTo(OrderKind.ORDER_KIND_CANCEL);
      assertThat(d(id).orders().get(d(id).orders().size() - 1).getLease().getTerm()).isEqualTo(2);
    }
  }

  @Test
  void theOthersGroupBreaksWhenRankZeroStopsToHandOver() {
    String job = three(3);
    List<LeaseRef> leases = world.leases(job);
    d("c").drain();
    d("b").broke(leases.get(1));
    d("c").broke(leases.get(2));
    // It uploads.
    world.advance(20_000);
    assertThat(world.term(job)).isEqualTo(1);
    world.commit(leases.get(0), 17, true);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_QUEUED);
    assertThat(world.view(job).getCheckpoints(0).getStep()).isEqualTo(17);
  }

  @Test
  void whereRankZerosOwnGroupBreaksItHandsOverInTheNext() {
    String job = three(3);
    List<LeaseRef> leases = world.leases(job);
    d("c").drain();
    d("a").broke(leases.get(0));
    world.advance(300);
    assertThat(world.term(job)).isEqualTo(2);
    world.form(job, 17);
    assertThat(d("a").orders())
        .extracting(Order::getLease)
        .containsExactly(leases.get(0), world.leases(job).get(0));
  }

  @Test
  void whoeverLeavesWhileAJobIsBeingPausedDoesNotDisturbThat() {
    String job = three(1);
    List<LeaseRef> leases = world.leases(job);
    world.tell(s -> s.pause(job, world.now()));
    d("c").drain();
    world.restart();
    List.of("a", "b", "c").forEach(id -> d(id).connect());
    d("b").broke(leases.get(1));
    world.advance(10_000);
    assertThat(world.term(job)).isEqualTo(1);
    world.commit(leases.get(0), 17, true);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_PAUSED);
    assertThat(world.view(job).getCheckpoints(0).getStep()).isEqualTo(17);
  }

  @Test
  void aResultThatCrossedTheNextTermsOfferIsToldInThatTerm() {
    String job = three(2);
    LeaseRef before = world.leases(job).get(0);
    d("c").drain();
    assertRefused(
        CoordinatorException.Kind.ABORTED,
        () -> world.finish(before, AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED));
    // Its trainer has ended: it does not wait for the others.
    LeaseRef next = world.leases(job).get(0);
    world.begin(next, 100, true);
    world.finish(next, AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_SUCCEEDED);
    assertThat(d("b").orders())
        .extracting(Order::getKind)
        .containsExactly(OrderKind.ORDER_KIND_CANCEL);
  }

  @Test
  void aLastCheckpointThatCrossedTheNextTermsOfferIsStoredInThatTerm() {
    String job = three(3);
    d("b").broke(world.leases(job).get(1));
    world.advance(300);
    LeaseRef next = world.leases(job).get(0);
    world.begin(next, 17, true);
    world.commit(next, 17, true);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_RUNNING);
    assertThat(world.view(job).getCheckpoints(0).getStep()).isEqualTo(17);
    assertThat(d("a").offer().getAssignment().getCheckpoints(0).getStep()).isEqualTo(17);
  }

  @Test
  void aPauseOutlivesTheLossOfRankZero() {
    String job = three(1);
    world.tell(s -> s.pause(job, world.now()));
    world.finish(world.leases(job).get(0), AttemptOutcome.ATTEMPT_OUTCOME_KILLED);
    assertThat(world.members(job)).containsExactly("b", "c");
    world.form(job, 12);
    assertThat(d("b").orders().get(0).getKind()).isEqualTo(OrderKind.ORDER_KIND_HAND_OVER);
    assertThat(d("b").orders().get(0).getLease()).isEqualTo(world.leases(job).get(0));
    world.commit(world.leases(job).get(0), 12, true);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_PAUSED);
  }

  // ---- The state in memory

  @Test
  void aTermThatGoesOnFromMemoryKeepsTheNewestCheckpoint() {
    String job = three(2);
    world.commit(world.leases(job).get(0), 20, false);
    world.finish(world.leases(job).get(0), AttemptOutcome.ATTEMPT_OUTCOME_KILLED);
    // The others had not heard the end of step 20's exchange.
    world.form(job, 19);
    assertThat(world.view(job).getCheckpointsList()).hasSize(1);
    LeaseRef first = world.leases(job).get(0);
    world.commit(first, 19, false);
    assertThat(world.view(job).getCheckpointsList()).hasSize(1);
    world.commit(first, 30, false);
    assertThat(world.view(job).getCheckpointsList()).hasSize(2);
  }

  @Test
  void nobodyHasAStateInMemoryInAFirstTerm() {
    world.worker("a", 2);
    String job = world.submit(2, 2);
    assertRefused(
        CoordinatorException.Kind.FAILED_PRECONDITION,
        () -> world.begin(world.leases(job).get(0), 5, true));
  }

  // ---- The coordinator's own troubles

  @Test
  void aRestartOfTheCoordinatorChangesNothing() {
    String job = three(2);
    world.restart();
    d("a").connect();
    world.advance(8_000);
    d("b").connect();
    d("c").connect();
    world.advance(30_000);
    assertThat(world.term(job)).isEqualTo(1);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_RUNNING);
    world.commit(world.leases(job).get(0), 20, false);
  }

  @Test
  void afterARestartAGroupIsFormedOfThoseWhoAskAgain() {
    onHost("a", 1);
    onHost("b", 1);
    String job = world.submit(2, 2);
    d("a").waits(world.leases(job).get(0));
    world.restart();
    d("a").connect();
    d("b").connect();
    d("b").waits(world.leases(job).get(1));
    assertThat(d("b").last().hasGroupReady()).isFalse();
    d("a").waits(world.leases(job).get(0));
    assertThat(d("b").last().hasGroupReady()).isTrue();
  }

  @Test
  void whoeverDoesNotReturnAfterARestartIsLeftOutAfterAWholeLease() {
    String job = three(2);
    world.restart();
    d("a").connect();
    d("b").connect();
    d("a").broke(world.leases(job).get(0));
    world.advance(14_000);
    assertThat(world.term(job)).isEqualTo(1);
    world.advance(1_500);
    assertThat(world.members(job)).containsExactly("a", "b");
  }

  @Test
  void whatATermThatCouldNotBeStoredWasFoundedOnStillCounts() {
    String job = three(2);
    d("a").broke(world.leases(job).get(0));
    world.database.full(true);
    assertThatThrownBy(() -> world.advance(250)).isInstanceOf(StoreException.class);
    world.database.rollback();
    world.database.full(false);
    world.tell(s -> s.reload(world.now()));
    assertThat(world.term(job)).isEqualTo(1);
    world.advance(300);
    assertThat(world.term(job)).isEqualTo(2);
    assertThat(d("a").offer().getContinues().getTerm()).isEqualTo(1);
  }

  @Test
  void anOfferThatWasLostWithItsStreamIsMadeAgain() {
    String job = three(2);
    LeaseRef old = world.leases(job).get(0);
    GangWorld.Daemon a = d("a");
    world.finish(world.leases(job).get(2), AttemptOutcome.ATTEMPT_OUTCOME_KILLED);
    d("b").broke(world.leases(job).get(1));
    world.advance(250);
    assertThat(world.term(job)).isEqualTo(3);
    // It has heard of neither of the two terms.
    a.disconnect();
    a.forgetOffers();
    a.leases.clear();
    a.leases.add(old);
    a.connect();
    assertThat(a.offer().getContinues()).isEqualTo(old);
    assertThat(a.offer().getLease()).isEqualTo(world.leases(job).get(0));
    assertThat(world.term(job)).isEqualTo(3);
    assertThat(a.leases).containsExactly(world.leases(job).get(0));
  }

  @Test
  void ranksThatMissedAnOfferKeepTheirOrder() {
    GangWorld.Daemon a = onHost("a", 2);
    onHost("b", 1);
    String job = world.submit(2, 3);
    world.form(job, 0);
    List<LeaseRef> old = world.leases(job);
    assertThat(world.members(job)).containsExactly("a", "a", "b");
    d("b").drain();
    a.disconnect();
    a.forgetOffers();
    a.leases.clear();
    a.leases.add(old.get(1));
    a.leases.add(old.get(0));
    a.connect();
    for (Offer offer : a.offers().subList(a.offers().size() - 2, a.offers().size())) {
      assertThat(offer.getContinues()).isEqualTo(old.get(offer.getLease().getRank()));
    }
  }

  @Test
  void afterARestartToo() {
    String job = three(2);
    List<LeaseRef> old = world.leases(job);
    world.finish(old.get(2), AttemptOutcome.ATTEMPT_OUTCOME_KILLED);
    world.restart();
    for (String id : List.of("a", "b")) {
      d(id).leases.clear();
      d(id).leases.add(old.get(id.equals("a") ? 0 : 1));
      d(id).connect();
    }
    assertThat(world.term(job)).isEqualTo(2);
    assertThat(d("b").offer().getContinues()).isEqualTo(old.get(1));
    world.form(job, 15);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_RUNNING);
  }
}
