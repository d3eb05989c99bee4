package dev.baton.worker.trainer;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.worker.trainer.TrainingControl.Next;
import org.junit.jupiter.api.Test;

class TrainingControlTest {
  private static final long DEADLINE = 1_000;
  private final TrainingControl control = new TrainingControl(100);

  @Test
  void intervalCountsFromTheCommit() {
    control.go(DEADLINE, 0);
    assertThat(control.next(5, 99, false)).isEqualTo(Next.STEP);
    assertThat(control.next(5, 100, false)).isEqualTo(Next.SNAPSHOT);
    control.snapshotTaken(5);
    assertThat(control.next(6, 300, false)).as("one at a time").isEqualTo(Next.STEP);
    control.committed(5, 300);
    assertThat(control.next(6, 399, false)).isEqualTo(Next.STEP);
    assertThat(control.next(6, 400, false)).isEqualTo(Next.SNAPSHOT);
  }

  @Test
  void whatCannotBeStoredIsFollowedByAnotherSnapshot() {
    control.go(DEADLINE, 0);
    assertThat(control.next(5, 100, false)).isEqualTo(Next.SNAPSHOT);
    control.snapshotTaken(5);
    control.givenUp(5, 300);
    assertThat(control.committedStep()).isEqualTo(-1);
    assertThat(control.next(6, 399, false)).isEqualTo(Next.STEP);
    assertThat(control.next(6, 400, false)).isEqualTo(Next.SNAPSHOT);
  }

  /** As where a group takes longer to form than an interval. */
  @Test
  void whatWasRestoredIsNotStoredAgainAndHoldsUpNothing() {
    control.restored(5);
    control.go(DEADLINE, 0);
    assertThat(control.next(5, 200, false)).isEqualTo(Next.STEP);
    control.checkpointNow(false);
    assertThat(control.next(5, 200, false)).isEqualTo(Next.SNAPSHOT);
    control.snapshotTaken(5);
    assertThat(control.next(6, 200, false)).isEqualTo(Next.SNAPSHOT);
  }

  @Test
  void asManyPointsAsACommitCarriesMakeASnapshotDueAndThenHoldTheRunBack() throws Exception {
    control.go(DEADLINE, 0);
    assertThat(control.next(5, 1, true)).isEqualTo(Next.SNAPSHOT);
    control.snapshotTaken(5);
    assertThat(control.next(5, 2, false)).isEqualTo(Next.STEP);
    assertThat(control.next(9, 3, true)).isEqualTo(Next.WAIT);
    Thread committer = new Thread(() -> control.committed(5, 4));
    committer.start();
    control.awaitPermission(9, true, () -> 5);
    committer.join();
    assertThat(control.next(9, 5, true)).isEqualTo(Next.SNAPSHOT);
  }

  @Test
  void noStepBeyondTheDeadlineUntilALaterOneComes() {
    control.go(DEADLINE, 0);
    control.snapshotTaken(1);
    assertThat(control.next(5, DEADLINE, false)).isEqualTo(Next.WAIT);
    control.deadline(DEADLINE - 1);
    assertThat(control.next(5, DEADLINE, false)).isEqualTo(Next.WAIT);
    control.deadline(DEADLINE + 1);
    assertThat(control.next(5, DEADLINE, false)).isEqualTo(Next.STEP);
  }
}
