package dev.baton.worker.leaving;

/**
 * How long a worker has had nothing to do. Pure; times are monotonic nanoseconds. Not thread-safe.
 */
final class IdleTime {
  // Whoever looks did not run: suspended, and its jobs taken away meanwhile. That is no idleness.
  private static final long GAP_NANOS = 5_000_000_000L;

  private long sinceNanos;
  private long lookedNanos;

  IdleTime(long nowNanos) {
    sinceNanos = nowNanos;
    lookedNanos = nowNanos;
  }

  /** To be called about once a second; returns for how long it has been idle by now. */
  long look(boolean idle, long nowNanos) {
    if (!idle || nowNanos - lookedNanos > GAP_NANOS) {
      sinceNanos = nowNanos;
    }
    lookedNanos = nowNanos;
    return nowNanos - sinceNanos;
  }
}
