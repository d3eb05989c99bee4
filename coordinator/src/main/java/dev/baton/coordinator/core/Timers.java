package dev.baton.coordinator.core;

import java.util.Comparator;
import java.util.PriorityQueue;
import org.jspecify.annotations.Nullable;

/** Jobs to look at again at a time. An entry is a hint: whoever is rung looks whether it is due. */
final class Timers {
  /** One job's. */
  record Timer(long nanos, String jobId) {}

  private final PriorityQueue<Timer> queue =
      new PriorityQueue<>(Comparator.comparingLong(Timer::nanos));

  void set(long nanos, String jobId) {
    queue.add(new Timer(nanos, jobId));
  }

  /** The next one that is due; null where none is. */
  @Nullable Timer poll(long nowNanos) {
    Timer first = queue.peek();
    return first == null || first.nanos() > nowNanos ? null : queue.poll();
  }

  void clear() {
    queue.clear();
  }
}
