package dev.baton.worker.trainer;

import dev.baton.v1.GroupStands;
import dev.baton.v1.JoinGroup;
import java.util.Objects;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * What the daemon asks of a run: until when it may make steps, when it should take a snapshot, and
 * in which group it trains. One thread trains and asks {@link #next}; any other tells. Time is
 * monotonic nanoseconds, passed in.
 *
 * <p>A run that trains in groups makes steps only in the newest that it was told of. Where that is
 * not the one it is in, everything else waits: {@link Next#JOIN}.
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
    WAIT,
    /** Leave the group, if it is in one, and join the next. */
    JOIN
  }

  private final long intervalNanos;
  private final boolean inGroups;
  private boolean started;
  private long deadlineNanos;
  private long intervalBeganNanos;
  private long committedStep = -1;
  private boolean requested;
  private boolean stop;
  private boolean uncommitted;
  private long newestStep = -1;
  private long restoredStep = -1;

  /** What ends collectives that wait. */
  private Runnable abandon = () -> {};

  private @Nullable JoinGroup newest;
  private @Nullable GroupStands newestStands;

  /** The group that the run has joined, or has tried to. */
  private @Nullable JoinGroup tried;

  private boolean joined;

  /** A control of a run that trains alone, and waits for {@link #go}. */
  public TrainingControl(long intervalNanos) {
    this(intervalNanos, false);
  }

  /**
   * A control that waits for {@link #go}.
   *
   * @param intervalNanos between one commit and the next snapshot
   * @param inGroups whether the run trains in groups, of one replica too
   */
  public TrainingControl(long intervalNanos, boolean inGroups) {
    if (intervalNanos <= 0) {
      throw new IllegalArgumentException("checkpoint interval " + intervalNanos + " ns");
    }
    this.intervalNanos = intervalNanos;
    this.inGroups = inGroups;
  }

  /** Whether the run trains in groups. */
  boolean inGroups() {
    return inGroups;
  }

  /** The run starts from that step, which nobody commits again. */
  synchronized void restored(long step) {
    restoredStep = step;
  }

  /** The lease is there; the first interval begins. */
  public synchronized void go(long deadline, long now) {
    started = true;
    deadlineNanos = deadline;
    intervalBeganNanos = now;
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
    committedStep = Math.max(committedStep, step);
    settled(step, now);
  }

  /** The snapshot of that step was not stored and is not any more: the interval counts from now. */
  public synchronized void givenUp(long step, long now) {
    settled(step, now);
  }

  private void settled(long step, long now) {
    intervalBeganNanos = now;
    if (step >= newestStep) {
      uncommitted = false;
      notifyAll();
    }
  }

  /** The newest step that a commit is known of; -1 before the first. */
  synchronized long committedStep() {
    return committedStep;
  }

  /** A snapshot of that step was taken; until it is committed, no interval's snapshot follows. */
  synchronized void snapshotTaken(long step) {
    requested = false;
    uncommitted = step > restoredStep;
    newestStep = step;
  }

  /** Sets what ends collectives that wait; called on the thread that tells, and must not wait. */
  synchronized void onAbandon(Runnable action) {
    abandon = action;
  }

  /** There is a newer group. Snapshots that were asked for belong to the one before. */
  public synchronized void joinGroup(JoinGroup group) {
    if (newest != null && newest.getGroup().equals(group.getGroup())) {
      return;
    }
    newest = group;
    newestStands = null;
    requested = false;
    stop = false;
    if (group.getAbandon()) {
      // Before the run can know of the new group, which is not meant.
      abandon.run();
    }
    notifyAll();
  }

  /** All members of a group wait. */
  public synchronized void groupStands(GroupStands stands) {
    JoinGroup group = newest;
    if (group != null && group.getGroup().equals(stands.getGroup())) {
      newestStands = stands;
      notifyAll();
    }
  }

  /** Waits for a newer group than the one that was joined or tried last. */
  synchronized JoinGroup awaitJoin() throws InterruptedException {
    while (newest == null || newest.equals(tried)) {
      wait();
    }
    JoinGroup group = newest;
    tried = group;
    joined = false;
    return group;
  }

  /** Waits until all members of the group wait; null where there is a newer one before that. */
  synchronized @Nullable GroupStands awaitStands(JoinGroup group) throws InterruptedException {
    while (group.equals(newest) && newestStands == null) {
      wait();
    }
    return group.equals(newest) ? newestStands : null;
  }

  /**
   * The group stands, and the run is in it. A snapshot that was taken in the group before may be
   * lost, and is waited for no longer.
   */
  synchronized void joined(JoinGroup group) {
    joined = group.equals(tried);
    uncommitted = false;
    newestStep = committedStep;
  }

  /** The run is in no group any more; whether a newer one is known already. */
  synchronized boolean broken() {
    joined = false;
    return !Objects.equals(newest, tried);
  }

  /**
   * What to do at a boundary at which {@code step} steps are complete.
   *
   * @param full as many metric points wait as one commit may carry: a snapshot takes them along
   *     before its time, and where one is under way already, no step is made until it is committed
   */
  synchronized Next next(long step, long now, boolean full) {
    JoinGroup group = tried;
    if (inGroups && (!joined || !Objects.equals(newest, group))) {
      return Next.JOIN;
    }
    boolean leads = group == null || group.getRank() == 0;
    if (leads && stop) {
      return Next.STOP;
    }
    if (leads && requested) {
      return Next.SNAPSHOT;
    }
    if (now - deadlineNanos >= 0) {
      return Next.WAIT;
    }
    if (full && uncommitted) {
      return Next.WAIT;
    }
    boolean due =
        leads
            && !uncommitted
            && step > Math.max(newestStep, restoredStep)
            && (full || now - intervalBeganNanos >= intervalNanos);
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
