package dev.baton.worker.process;

import java.util.Arrays;

/**
 * Tells a trainer that lives but makes no step from one that is busy: no step for max(60 s, 20
 * times the median step). Pure; times are monotonic nanoseconds. Not thread-safe.
 */
public final class StallWatch {
  private static final long SECOND = 1_000_000_000L;

  /** However short its steps: none for less than this is no stall. */
  public static final long LEAST_NANOS = 60 * SECOND;

  private static final int FACTOR = 20;
  // Before a second report nobody knows how long a step is; and an evaluation has no steps at all.
  private static final int UNKNOWN_FACTOR = 10;
  private static final int REMEMBERED = 31;
  // The watcher itself did not run: it was suspended, and perhaps the trainer too.
  private static final long GAP_NANOS = 5 * SECOND;

  private final long leastNanos;
  private final long[] stepNanos = new long[REMEMBERED];
  private int count;
  private long step = -1;
  private boolean training;
  private long movedNanos;
  private long checkedNanos;

  /**
   * @param leastNanos {@link #LEAST_NANOS}, or less in a test
   */
  public StallWatch(long leastNanos, long nowNanos) {
    this.leastNanos = leastNanos;
    restart(nowNanos);
  }

  /** Counts from now on: training begins, or goes on after a pause. */
  public void restart(long nowNanos) {
    movedNanos = nowNanos;
    checkedNanos = nowNanos;
  }

  /** A report: {@code completed} steps, and whether it is training (not evaluating, say). */
  public void report(long completed, boolean isTraining, long nowNanos) {
    if (isTraining && training && step >= 0 && completed > step) {
      stepNanos[count++ % REMEMBERED] = (nowNanos - movedNanos) / (completed - step);
    }
    // Outside training every report is a sign of life; in it only a step is.
    if (!isTraining || !training || completed != step) {
      movedNanos = nowNanos;
    }
    training = isTraining;
    step = completed;
  }

  /** Whether it stalls. To be asked about once a second while it ought to move. */
  public boolean stalled(long nowNanos) {
    boolean slept = nowNanos - checkedNanos > GAP_NANOS;
    checkedNanos = nowNanos;
    if (slept) {
      movedNanos = nowNanos;
      return false;
    }
    return nowNanos - movedNanos > limitNanos();
  }

  /** How long it may go without a step at present. */
  public long limitNanos() {
    return training && count > 0
        ? Math.max(leastNanos, FACTOR * medianNanos())
        : UNKNOWN_FACTOR * leastNanos;
  }

  /** The median time of a step; 0 while unknown. */
  public long medianNanos() {
    int n = Math.min(count, REMEMBERED);
    if (n == 0) {
      return 0;
    }
    long[] sorted = Arrays.copyOf(stepNanos, n);
    Arrays.sort(sorted);
    return sorted[n / 2];
  }
}
