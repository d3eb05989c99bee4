package dev.baton.coordinator.core;

import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A job as its submitter knows it, and what a run of it computes. */
final class SimulatedJob {
  final String requestId;
  final long steps;
  final boolean cancels;
  final int min;
  final int max;
  @Nullable String id;
  boolean cancelled;

  /** The term in which each step was run last. */
  private final Map<Long, Long> ranIn = new HashMap<>();

  /** Steps that were run again in a later term. */
  long repeated;

  SimulatedJob(String requestId, long steps, boolean cancels, int min, int max) {
    this.requestId = requestId;
    this.steps = steps;
    this.cancels = cancels;
    this.min = min;
    this.max = max;
  }

  boolean gang() {
    return max > 1;
  }

  void ran(long step, long term) {
    Long before = ranIn.put(step, term);
    if (before != null && before != term) {
      repeated++;
    }
  }

  // ---- What a run of it computes

  /** The state after a step is a pure function of job and step. */
  static long state(String jobId, long step) {
    long state = start(jobId);
    for (long s = 1; s <= step; s++) {
      state = stepped(state, s);
    }
    return state;
  }

  static long start(String jobId) {
    return mix(jobId.hashCode());
  }

  static long stepped(long state, long step) {
    return mix(state + step * 0x9E3779B97F4A7C15L);
  }

  private static long mix(long z) {
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }

  /** A point each third step, and at the last. */
  static boolean logs(long step, long steps) {
    return step % 3 == 0 || step == steps;
  }

  static double loss(long state) {
    return (state >>> 40) / 1024.0;
  }
}
