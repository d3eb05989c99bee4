package dev.baton.worker.process;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class StallWatchTest {
  private static final long SECOND = 1_000_000_000L;

  private final StallWatch watch = new StallWatch(StallWatch.LEAST_NANOS, 0);
  private long now;

  @Test
  void quickStepsMayRestAMinute() {
    steps(1, 5, SECOND);
    assertThat(stalledAfter(60)).isFalse();
    assertThat(stalledAfter(1)).isTrue();
  }

  @Test
  void slowStepsMayTakeTwentyTimesTheirMedian() {
    steps(1, 5, 10 * SECOND);
    assertThat(watch.medianNanos()).isEqualTo(10 * SECOND);
    assertThat(stalledAfter(200)).isFalse();
    assertThat(stalledAfter(1)).isTrue();
  }

  @Test
  void reportsWithoutAStepAreNoSignOfLifeInTraining() {
    steps(1, 5, SECOND);
    for (int i = 0; i < 60; i++) {
      assertThat(stalledAfter(1)).isFalse();
      watch.report(5, true, now);
    }
    assertThat(stalledAfter(1)).isTrue();
  }

  @Test
  void reportsOfAnEvaluationAre() {
    steps(1, 5, SECOND);
    for (int i = 0; i < 1_000; i++) {
      assertThat(stalledAfter(1)).isFalse();
      watch.report(5, false, now);
    }
    watch.report(6, true, now);
    assertThat(watch.medianNanos()).isEqualTo(SECOND);
  }

  @Test
  void theFirstStepMayTakeLong() {
    assertThat(stalledAfter(600)).isFalse();
    assertThat(stalledAfter(1)).isTrue();
  }

  @Test
  void whoSleptDoesNotJudge() {
    steps(1, 5, SECOND);
    now += 300 * SECOND;
    assertThat(watch.stalled(now)).isFalse();
    assertThat(stalledAfter(60)).isFalse();
    assertThat(stalledAfter(1)).isTrue();
  }

  private void steps(int from, int to, long nanos) {
    for (int step = from; step <= to; step++) {
      for (long second = 0; second < nanos; second += SECOND) {
        now += SECOND;
        assertThat(watch.stalled(now)).isFalse();
      }
      watch.report(step, true, now);
    }
  }

  // Asked once a second, as it is meant to be.
  private boolean stalledAfter(int seconds) {
    for (int i = 1; i < seconds; i++) {
      now += SECOND;
      assertThat(watch.stalled(now)).isFalse();
    }
    now += SECOND;
    return watch.stalled(now);
  }
}
