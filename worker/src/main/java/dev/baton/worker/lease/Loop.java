package dev.baton.worker.lease;

import java.util.concurrent.Executor;

/**
 * The daemon's one thread of decisions, and its clock. Whatever it runs runs one after the other.
 */
public interface Loop extends Executor {
  /** A monotonic clock; {@code System.nanoTime}'s in earnest. */
  long nanoTime();

  /** Runs a task after a delay. */
  void schedule(long delayNanos, Runnable task);
}
