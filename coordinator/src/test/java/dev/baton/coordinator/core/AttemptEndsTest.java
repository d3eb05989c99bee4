package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.Draining;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.OrderKind;
import java.util.List;
import org.junit.jupiter.api.Test;

/** How an attempt ends, and what becomes of its job. */
final class AttemptEndsTest extends CoreByHand {

  // ---- Hand-over, pause, cancel

  @Test
  void aHandOverGoesAtOnceToTheOneWhoStandsBy() {
    submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    hello("b", 1);
    begin(lease, 0, "");
    tell(s -> s.draining("a", 1, Draining.newBuilder().setReason("SIGTERM").build(), now()));
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
    ask(s -> s.drainWorker("a", now()));
    draining("a", Draining.newBuilder().setOver(true).build());
    submit();
    assertThat(offers("a")).hasSize(1);
  }

  private void draining(String worker, Draining message) {
    tell(s -> s.draining(worker, 1, message, now()));
  }

  @Test
  void drainingAWorkerIsAskedAgainInEachSession() {
    hello("a", 1);
    ask(s -> s.drainWorker("a", now()));
    assertThat(last("a").getOrder().getKind()).isEqualTo(OrderKind.ORDER_KIND_DRAIN);
    hello("a", 2);
    assertThat(last("a").getOrder().getKind()).isEqualTo(OrderKind.ORDER_KIND_DRAIN);
    submit();
    assertThat(offers("a")).isEmpty();
    assertRefused(
        CoordinatorException.Kind.NOT_FOUND, () -> ask(s -> s.drainWorker("nobody", now())));
  }

  @Test
  void aPausedJobIsHandedBackAndWaitsUntilItIsResumed() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    tell(s -> s.pause(job, now()));
    assertThat(last("a").getOrder().getKind()).isEqualTo(OrderKind.ORDER_KIND_HAND_OVER);
    assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_RUNNING);
    commit(lease, upload(lease), 7, true);
    assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_PAUSED);
    restart();
    hello("a", 2);
    assertThat(offers("a")).isEmpty();
    tell(s -> s.resume(job, now()));
    assertThat(offered("a").getTerm()).isEqualTo(2);
  }

  @Test
  void theOrderToHandOverIsRepeatedInANewSession() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    tell(s -> s.pause(job, now()));
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
        CoordinatorException.Kind.FAILED_PRECONDITION,
        () -> ask(s -> s.uploadOf(offered("b"), "unknown")));
  }

  @Test
  void aJobBeingPausedWhoseWorkerVanishesIsPaused() {
    String job = submit();
    hello("a", 1);
    begin(offered("a"), 0, "");
    tell(s -> s.pause(job, now()));
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
      tell(s -> s.cancel(job, now()));
    }
    assertThat(last("a").getOrder().getKind()).isEqualTo(OrderKind.ORDER_KIND_CANCEL);
    assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_CANCELLED);
    assertThat(effects).contains(new Effect.Ended(job));
    assertRefused(
        CoordinatorException.Kind.ABORTED,
        () -> finish(lease, AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED, ""));
    assertRefused(
        CoordinatorException.Kind.FAILED_PRECONDITION, () -> tell(s -> s.pause(job, now())));
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
  void aJobThatWantsItsKindWaitsForItHoweverOftenItIsRefusedElsewhere() {
    JobSpec.Builder sameKind = spec();
    sameKind.getResourcesBuilder().setSameKind(true);
    String job = submit(sameKind);
    hello("a", 1);
    LeaseRef first = offered("a");
    begin(first, 0, "");
    tell(s -> s.draining("a", 1, Draining.newBuilder().setReason("SIGTERM").build(), now()));
    String checkpoint = commit(first, upload(first), 7, true);
    hello("b", 1);
    String why = "FAILED_PRECONDITION: it wants the kind that it began on";
    for (int i = 1; i <= 12; i++) {
      for (int s = 0; s < 310 && offers("b").size() < i; s++) {
        advance(1_000);
        beat("b", 1);
      }
      LeaseRef refused = offered("b");
      assertThat(refused.getTerm()).isEqualTo(i + 1);
      assertRefused(
          CoordinatorException.Kind.FAILED_PRECONDITION,
          () -> begin(refused, 7, checkpoint, "cpu 1 thread, another libtorch"));
      finish(refused, AttemptOutcome.ATTEMPT_OUTCOME_RELEASED, why);
    }
    assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_QUEUED);
    assertThat(view(job).getReason()).startsWith(why);
    assertThat(view(job).getFailures()).isZero();
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
}
