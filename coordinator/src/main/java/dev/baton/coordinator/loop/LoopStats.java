package dev.baton.coordinator.loop;

import java.util.concurrent.atomic.AtomicLong;

/** Counts groups and commands. Written by the loop's thread, read by any. */
public final class LoopStats {
  private final AtomicLong groups = new AtomicLong();
  private final AtomicLong commands = new AtomicLong();
  private volatile int largest;

  void count(int size) {
    if (size > 0) {
      groups.incrementAndGet();
      commands.addAndGet(size);
      largest = Math.max(largest, size);
    }
  }

  /** Groups that were committed and held a command. */
  public long groups() {
    return groups.get();
  }

  /** Commands in them. */
  public long commands() {
    return commands.get();
  }

  /** The most commands in one group. */
  public int largest() {
    return largest;
  }
}
