package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.JobState;
import org.junit.jupiter.api.Test;

/** Room is kept for the first gang that waits; later jobs run beside it. */
final class BackfillTest {
  private final GangWorld world = new GangWorld();

  private GangWorld.Daemon onHost(String id, int slots) {
    return world.worker(id, slots, hello -> hello.setHostId("shared"));
  }

  private void succeed(String job) {
    if (!world.view(job).getAttempts(0).hasFirstStep()) {
      world.begin(world.leases(job).get(0), 0, false);
    }
    world.finish(world.leases(job).get(0), AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
  }

  private boolean waits(String job) {
    return world.view(job).getState() == JobState.JOB_STATE_QUEUED;
  }

  @Test
  void laterJobsDoNotKeepAGangWaitingForEver() {
    onHost("a", 1);
    onHost("b", 1);
    String first = world.submit(1, 1);
    String second = world.submit(1, 1);
    String gang = world.submit(2, 2);
    String later = world.submit(1, 1);
    assertThat(world.why(gang)).startsWith("needs 2 replicas at once: 0 of 2 fit now");
    succeed(first);
    assertThat(waits(gang)).isTrue();
    assertThat(waits(later)).isTrue();
    assertThat(world.why(gang))
        .isEqualTo("needs 2 replicas at once: 1 of 2 fit now; reserved: a, b");
    succeed(second);
    assertThat(world.members(gang)).containsExactlyInAnyOrder("a", "b");
    assertThat(waits(later)).isTrue();
  }

  @Test
  void laterJobsRunOnOtherWorkersAndInSlotsThatTheGangLeaves() {
    world.worker("a", 3);
    String first = world.submit(1, 1);
    String second = world.submit(1, 1);
    String gang = world.submit(2, 2);
    // Two of three slots are kept; the third is in excess once the first two jobs are through.
    String later = world.submit(1, 1);
    assertThat(waits(gang)).isTrue();
    assertThat(waits(later)).isTrue();
    GangWorld.Daemon b = world.worker("b", 1);
    assertThat(waits(later)).isFalse();
    assertThat(b.offers()).hasSize(1);
    succeed(first);
    assertThat(waits(gang)).isFalse();
    String last = world.submit(1, 1);
    assertThat(waits(last)).isTrue();
    succeed(second);
    assertThat(waits(last)).isFalse();
  }

  @Test
  void aSlotInExcessOfWhatIsKeptIsGivenToALaterJob() {
    world.worker("a", 4);
    String running = world.submit(2, 2);
    world.form(running, 0);
    String gang = world.submit(3, 3);
    String later = world.submit(1, 1);
    assertThat(waits(gang)).isTrue();
    // Four slots, three kept, two in use: the third would delay nobody only if four were there.
    assertThat(waits(later)).isTrue();
    world.finish(world.leases(running).get(0), AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
    assertThat(world.members(gang)).hasSize(3);
    assertThat(waits(later)).isFalse();
  }

  @Test
  void aJobBeforeTheGangMayTakeWhatIsKept() {
    onHost("a", 1);
    onHost("b", 1);
    String before = world.submit(1, 1);
    String other = world.submit(1, 1);
    String gang = world.submit(2, 2);
    world.begin(world.leases(before).get(0), 0, false);
    world.finish(world.leases(before).get(0), AttemptOutcome.ATTEMPT_OUTCOME_KILLED);
    assertThat(waits(before)).isFalse();
    assertThat(waits(gang)).isTrue();
    succeed(before);
    succeed(other);
    assertThat(waits(gang)).isFalse();
  }

  @Test
  void aGangThatThisFleetCannotHoldKeepsNothing() {
    onHost("a", 1);
    onHost("b", 1);
    String gang = world.submit(3, 3);
    String later = world.submit(1, 1);
    assertThat(waits(later)).isFalse();
    assertThat(world.why(gang)).contains("1 of 3 fit now; all workers together have room for 2");
  }

  @Test
  void whatIsKeptIsFreeAgainWhenTheGangIsCancelledOrAWorkerGone() {
    onHost("a", 1);
    GangWorld.Daemon b = onHost("b", 1);
    String first = world.submit(1, 1);
    String gang = world.submit(2, 2);
    String later = world.submit(1, 1);
    assertThat(waits(later)).isTrue();
    world.tell(s -> s.cancel(gang, world.now()));
    assertThat(waits(later)).isFalse();
    succeed(later);
    String again = world.submit(2, 2);
    String last = world.submit(1, 1);
    assertThat(waits(last)).isTrue();
    GangWorld.Daemon holder = world.holder(first, 0);
    holder.drain();
    assertThat(waits(last)).isFalse();
    assertThat(waits(again)).isTrue();
    assertThat(b.offers()).isNotEmpty();
  }
}
