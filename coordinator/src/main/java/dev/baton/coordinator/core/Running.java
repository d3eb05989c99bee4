package dev.baton.coordinator.core;

import dev.baton.v1.Progress;
import org.jspecify.annotations.Nullable;

/** A job whose lease stands, with what stays in memory of it. */
final class Running {
  Job job;
  Attempt attempt;
  final Requirements needs;
  Progress progress;

  /** When the lease ends unless it is renewed. */
  long deadlineNanos;

  /** When the holder's stream broke; {@link Long#MAX_VALUE} while it stands. */
  long brokenAtNanos = Long.MAX_VALUE;

  /** When its timer rings; {@link Long#MAX_VALUE}: none is set. */
  long timerNanos = Long.MAX_VALUE;

  /** The lease has ended and waits for somebody to take the next term. */
  boolean available;

  /** Why what it last wanted to store was refused, until a checkpoint is committed; empty: no. */
  String notStored = "";

  /** Where the job's log ends; null: ask the store. */
  @Nullable LogPosition logEnd;

  Running(Job job, Attempt attempt, long deadlineNanos) {
    this.job = job;
    this.attempt = attempt;
    this.needs = Requirements.of(job);
    this.progress = job.progress();
    this.deadlineNanos = deadlineNanos;
  }

  Lease lease() {
    return attempt.lease();
  }

  /** The job as one that waits for a worker. */
  Waiting waiting() {
    return new Waiting(
        job.id(), job.submission().seq(), needs, job.kind().machine(), "", Long.MIN_VALUE);
  }

  /** Why its lease ended, or would. */
  String endReason() {
    return brokenAtNanos == Long.MAX_VALUE ? "lease expired" : "worker lost";
  }
}
