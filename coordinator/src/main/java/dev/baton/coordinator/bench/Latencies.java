package dev.baton.coordinator.bench;

import java.util.Arrays;

/** Durations in nanoseconds. Any thread may add. */
final class Latencies {
  private long[] nanos = new long[1024];
  private int count;

  synchronized void add(long duration) {
    if (count == nanos.length) {
      nanos = Arrays.copyOf(nanos, count * 2);
    }
    nanos[count++] = duration;
  }

  synchronized int count() {
    return count;
  }

  /** The quantile in milliseconds; 0 where nothing was added. */
  synchronized double quantileMs(double q) {
    if (count == 0) {
      return 0;
    }
    long[] sorted = Arrays.copyOf(nanos, count);
    Arrays.sort(sorted);
    return sorted[(int) Math.min(count - 1L, Math.round(q * count))] / 1e6;
  }
}
