package dev.baton.worker.lease;

/**
 * When a worker must stop counting on a lease. Times are {@code System.nanoTime}'s, which may
 * overflow: they are compared by difference only.
 *
 * <p>The coordinator counts a lease from when it read the heartbeat; the worker counts from when it
 * sent it, which is earlier, and stops a margin before. So the worker is always the first to stop.
 */
public final class LeaseDeadline {
  private static final long MAX_MARGIN_NANOS = 1_000_000_000L;

  private LeaseDeadline() {}

  /** The deadline that a renewal gives which was asked for at {@code sentNanos}. */
  public static long of(long sentNanos, long leaseNanos) {
    return sentNanos + leaseNanos - Math.min(MAX_MARGIN_NANOS, leaseNanos / 10);
  }

  /** Whether it is past. */
  public static boolean passed(long deadlineNanos, long nowNanos) {
    return nowNanos - deadlineNanos >= 0;
  }

  /** The later of two. */
  public static long later(long a, long b) {
    return a - b >= 0 ? a : b;
  }
}
