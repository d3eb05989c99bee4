package dev.baton.coordinator.core;

import dev.baton.v1.AttemptOutcome;
import org.jspecify.annotations.Nullable;

/**
 * How long a lease lasts and what follows its end. Safety rests on the term alone; deadlines only
 * decide when somebody else may take the next one.
 */
final class Leases {
  private static final long MILLI = 1_000_000;

  private final CoreState state;
  private final Standbys standbys;
  private final long leaseNanos;
  private final long graceNanos;

  /** Nobody's lease ends before: the coordinator cannot know who was silent. */
  private long quietUntilNanos = Long.MIN_VALUE;

  Leases(CoreState state, Standbys standbys, LeasePolicy policy) {
    this.state = state;
    this.standbys = standbys;
    this.leaseNanos = policy.lease().toNanos();
    this.graceNanos = policy.grace().toNanos();
  }

  /** When a lease ends that is granted or renewed now. */
  long deadline(Now now) {
    return now.nanos() + leaseNanos;
  }

  /** Nobody's lease ends for one whole lease: heartbeats may wait unread. */
  void quiet(Now now) {
    quietUntilNanos = deadline(now);
    for (Running held : state.running.values()) {
      held.deadlineNanos = Math.max(held.deadlineNanos, quietUntilNanos);
      takeBack(held);
    }
  }

  /** Ends what is due. */
  void tick(Now now) {
    Timers.@Nullable Timer timer;
    while ((timer = state.timers.poll(now.nanos())) != null) {
      Running held = state.running.get(timer.jobId());
      if (held != null) {
        if (held.timerNanos == timer.nanos()) {
          held.timerNanos = Long.MAX_VALUE;
        }
        if (!held.available) {
          if (freeAt(held) <= now.nanos()) {
            leaseEnded(held, now);
          } else {
            arm(held);
          }
        }
      }
      state.waiting.ring(timer.jobId(), now.nanos());
    }
  }

  /** The holder is there: its lease begins anew. */
  void renew(Running held, Now now) {
    held.deadlineNanos = deadline(now);
    held.brokenAtNanos = Long.MAX_VALUE;
    takeBack(held);
    if (held.timerNanos == Long.MAX_VALUE) {
      arm(held);
    }
  }

  /** The holder is back, or may be: nobody else gets the job for now. */
  void takeBack(Running held) {
    if (held.available) {
      held.available = false;
      state.waiting.remove(held.job.id());
      arm(held);
    }
  }

  /** When somebody else may take the next term. */
  long freeAt(Running held) {
    long at = held.deadlineNanos;
    if (held.brokenAtNanos != Long.MAX_VALUE) {
      at = Math.min(at, held.brokenAtNanos + graceNanos);
    }
    return Math.max(at, quietUntilNanos);
  }

  /** Sets a timer for {@link #freeAt}. */
  void arm(Running held) {
    long at = freeAt(held);
    if (at < held.timerNanos) {
      held.timerNanos = at;
      state.timers.set(at, held.job.id());
    }
  }

  /** The lease's time is up. It stays the current one until somebody takes the next. */
  void leaseEnded(Running held, Now now) {
    @Nullable Worker holder = state.fleet.find(held.lease().workerId());
    if (holder != null) {
      holder.fellSilent();
      state.fleet.update(holder);
    }
    if (held.job.state() == JobState.PAUSING) {
      Job next =
          JobTransitions.next(
              held.job, new JobEvent.Released("paused; its worker fell silent"), now);
      endLease(held, next, held.endReason(), AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED, now);
      return;
    }
    held.available = true;
    state.waiting.add(held.waiting(), now.nanos());
    state.outbox.notify(
        held.job, "message", "worker " + held.lease().workerName() + " is silent", now);
  }

  /** Ends a lease together with its attempt; {@code next} is what its job becomes. */
  void endLease(Running held, Job next, String reason, AttemptOutcome outcome, Now now) {
    state.write(next, held.job.fence());
    Attempt ended = held.attempt.ended(now.epochMs(), reason, outcome);
    state.jobs.updateAttempt(ended);
    forget(held);
    state.outbox.notify(
        next,
        "attempt_ended",
        "attempt " + ended.number() + " on " + ended.lease().workerName() + ": " + reason,
        now);
    if (next.state() == JobState.QUEUED) {
      boolean avoid =
          outcome == AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR
              || (outcome == AttemptOutcome.ATTEMPT_OUTCOME_RELEASED && !ended.begun());
      Waiting waits = enqueue(next, avoid ? ended.lease().workerId() : "", now);
      if (waits.notBeforeNanos() > now.nanos()) {
        standbys.prepare(waits, next, null, false, now);
      }
    }
    settle(next, now);
  }

  /** Takes a job out of memory that is under a lease no more. */
  void forget(Running held) {
    state.running.remove(held.job.id());
    state.waiting.remove(held.job.id());
    @Nullable Worker holder = state.fleet.find(held.lease().workerId());
    if (holder != null) {
      holder.drop(held);
      state.fleet.update(holder);
      state.fleet.forgetIfGone(holder);
    }
  }

  /** What follows when a job is in a state without a lease. */
  void settle(Job job, Now now) {
    state.outbox.notify(job, "state", job.reason(), now);
    if (job.state() != JobState.QUEUED) {
      standbys.unprepare(job.id());
    }
    if (job.state().ended()) {
      state.countDatasets(job, -1);
      state.workerFailures.remove(job.id());
      state.outbox.add(new Effect.Ended(job.id()));
    }
  }

  /**
   * Has a job wait for a worker.
   *
   * @param avoidWorkerId that gets it only if nobody else can; empty: none
   */
  Waiting enqueue(Job job, String avoidWorkerId, Now now) {
    long wait =
        Math.min(job.failures().notBeforeMs() - now.epochMs(), JobTransitions.MAX_BACKOFF_MS);
    Waiting waits =
        new Waiting(
            job.id(),
            job.submission().seq(),
            Requirements.of(job),
            job.kind().machine(),
            avoidWorkerId,
            wait > 0 ? now.nanos() + wait * MILLI : Long.MIN_VALUE);
    state.waiting.add(waits, now.nanos());
    if (waits.notBeforeNanos() > now.nanos()) {
      state.timers.set(waits.notBeforeNanos(), job.id());
    }
    return waits;
  }
}
