package dev.baton.worker.trainer;

import java.util.function.LongSupplier;

/**
 * What the daemon asks of a run: until when it may make steps, and when it should take a snapshot.
 * One thread trains and asks {@link #next}; any other tells. Time is monotonic nanoseconds, passed
 * in.
 */
public final class TrainingControl {

  /** What a run does at a step boundary. */
  public enum Next {
    /** Make a step. */
    STEP,
    /** Take a snapshot, then ask again. */
    SNAPSHOT,
    /** Take a snapshot and make no further step. */
    STOP,
    /** The deadline has passed: wait, keeping the state in memory. */
    WAIT
  }

  private final long intervalNanos;
  private boolean started;
  private long deadlineNanos;
  private long committedNanos;
  private boolean requested;
  private boolean stop;
  private boolean uncommitted;
  private long newestStep = -1;

  /**
   * A control that waits for {@link #go}.
   *
   * @param intervalNanos between one commit and the next snapshot
   */
  public TrainingControl(long intervalNanos) {
    if (intervalNanos <= 0) {
      throw new IllegalArgumentException("checkpoint interval " + intervalNanos + " ns");
    }
    this.intervalNanos = intervalNanos;
  }

  /** The lease is there; the first interval begins. */
  public synchronized void go(long deadline, long now) {
    started = true;
    deadlineNanos = deadline;
    committedNanos = now;
    notifyAll();
  }

  /** Steps may be made until then; an earlier deadline than the one known changes nothing. */
  public synchronized void deadline(long nanos) {
    if (nanos - deadlineNanos > 0) {
      deadlineNanos = nanos;
      notifyAll();
    }
  }

  /** A snapshot at the next boundary, and then no step where stop is true. */
  public synchronized void checkpointNow(boolean stopThen) {
    requested = true;
    stop |= stopThen;
    notifyAll();
  }

  /** The snapshot of that step is committed: the interval counts from now. */
  public synchronized void committed(long step, long now) {
    committedNanos = now;
    if (step >= newestStep) {
      uncommitted = false;
      notifyAll();
    }
  }

  /** A snapshot of that step was taken; until it is committed, no interval's snapshot follows. */
  synchronized void snapshotTaken(long step) {
    requested = false;
    uncommitted = true;
    newestStep = step;
  }

  /**
   * What to do at a boundary at which {@code step} steps are complete.
   *
   * @param full as many metric points wait as one commit may carry: a snapshot takes them along
   *     before its time, and where one is under way already, no step is made until it is committed
   */
  synchronized Next next(long step, long now, boolean full) {
    if (stop) {
      return Next.STOP;
    }
    if (requested) {
      return Next.SNAPSHOT;
    }
    if (now - deadlineNanos >= 0) {
      return Next.WAIT;
    }
    if (full && uncommitted) {
      return Next.WAIT;
    }
    boolean due =
        !uncommitted && step > newestStep && (full || now - committedNanos >= intervalNanos);
    return due ? Next.SNAPSHOT : Next.STEP;
  }

  /** Waits for {@link #go}. */
  synchronized void awaitGo() throws InterruptedException {
    while (!started) {
      wait();
    }
  }

  /** Waits until {@link #next} is no longer WAIT. */
  synchronized void awaitPermission(long step, boolean full, LongSupplier nanoTime)
      throws InterruptedException {
    while (next(step, nanoTime.getAsLong(), full) == Next.WAIT) {
      wait();
    }
  }
}
