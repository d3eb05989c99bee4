package dev.baton.worker.lease;

import dev.baton.v1.LeaseRef;
import java.util.function.LongSupplier;

/**
 * A lease that this worker holds: its deadline, and whether it is over. Whoever wants to write
 * under it goes through {@link #whileItLasts}, so that nothing is written after the deadline until
 * the coordinator has renewed it. Any thread may call it.
 */
public final class HeldLease {
  private static final long FIRST_WAIT_MS = 250;
  private static final long MAX_WAIT_MS = 5_000;

  /** A call that the coordinator may refuse. */
  @FunctionalInterface
  public interface Call<T> {
    T make() throws CoordinatorException, InterruptedException;
  }

  private final LeaseRef ref;
  private final LongSupplier nanoTime;
  private long deadlineNanos;
  private boolean over;

  public HeldLease(LeaseRef ref, long deadlineNanos, LongSupplier nanoTime) {
    this.ref = ref;
    this.deadlineNanos = deadlineNanos;
    this.nanoTime = nanoTime;
  }

  public LeaseRef ref() {
    return ref;
  }

  public synchronized long deadlineNanos() {
    return deadlineNanos;
  }

  /** Whether the deadline is past: nothing may be trained or written until it is renewed. */
  public synchronized boolean expired() {
    return LeaseDeadline.passed(deadlineNanos, nanoTime.getAsLong());
  }

  /** Moves the deadline, never back: replies may be late. */
  public synchronized void renew(long newDeadlineNanos) {
    deadlineNanos = LeaseDeadline.later(deadlineNanos, newDeadlineNanos);
    notifyAll();
  }

  /** The term is over, for whatever reason; whoever waits gets TERM_OVER. */
  public synchronized void end() {
    over = true;
    notifyAll();
  }

  /**
   * Waits while the deadline is past and unrenewed.
   *
   * @throws CoordinatorException TERM_OVER
   */
  public synchronized void awaitValid() throws CoordinatorException, InterruptedException {
    while (!over && expired()) {
      wait();
    }
    throwIfOver();
  }

  /**
   * Waits between two tries.
   *
   * @throws CoordinatorException TERM_OVER, at once
   */
  public synchronized void pause(long millis) throws CoordinatorException, InterruptedException {
    long until = System.nanoTime() + millis * 1_000_000L;
    long left = millis;
    while (!over && left > 0) {
      wait(left);
      left = (until - System.nanoTime()) / 1_000_000L;
    }
    throwIfOver();
  }

  /** Makes a call, again with growing waits where that can help, as long as the lease lasts. */
  public <T> T whileItLasts(Call<T> call) throws CoordinatorException, InterruptedException {
    for (long wait = FIRST_WAIT_MS; ; wait = nextWait(wait)) {
      awaitValid();
      try {
        return call.make();
      } catch (CoordinatorException e) {
        if (Thread.interrupted()) {
          throw new InterruptedException();
        }
        if (e.kind() != CoordinatorException.Kind.TRY_AGAIN) {
          throw e;
        }
      }
      pause(wait);
    }
  }

  /** The first wait between two tries, in milliseconds. */
  public static long firstWait() {
    return FIRST_WAIT_MS;
  }

  /** The wait after {@code wait}. */
  public static long nextWait(long wait) {
    return Math.min(2 * wait, MAX_WAIT_MS);
  }

  private synchronized void throwIfOver() throws CoordinatorException {
    if (over) {
      throw new CoordinatorException(
          CoordinatorException.Kind.TERM_OVER,
          "term " + ref.getTerm() + " of job " + ref.getJobId() + " is over");
    }
  }

  @Override
  public String toString() {
    return "job " + ref.getJobId() + ", term " + ref.getTerm();
  }
}
