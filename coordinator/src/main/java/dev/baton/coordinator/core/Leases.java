package dev.baton.coordinator.core;

import dev.baton.v1.AttemptOutcome;
import java.util.List;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;

/**
 * How long a lease lasts and what follows its end. Safety rests on the term alone; deadlines only
 * decide when somebody else may take the next one.
 */
final class Leases {
  private static final long MILLI = 1_000_000;

  /** Why a job that is being paused is paused without having been handed over. */
  static final String PAUSED_SILENT = "paused; its worker fell silent";

  private final CoreState state;
  private final Standbys standbys;
  private final RandomGenerator random;
  private final long leaseNanos;
  private final long graceNanos;
  private final long silenceNanos;

  /** Nobody's lease ends before: the coordinator cannot know who was silent. */
  private long quietUntilNanos = Long.MIN_VALUE;

  Leases(CoreState state, Standbys standbys, RandomGenerator random) {
    this.state = state;
    this.standbys = standbys;
    this.random = random;
    this.leaseNanos = state.policy.lease().toNanos();
    this.graceNanos = state.policy.grace().toNanos();
    this.silenceNanos = state.policy.silence().toNanos();
  }

  /** A lease of the job's next term. */
  Lease next(Job job, List<Lease.Member> members) {
    return new Lease(job.term() + 1, Ids.lease(random), members);
  }

  /**
   * Stores a job whose lease was just granted, and the attempt that this begins.
   *
   * @param fence of the job before
   */
  Running found(Job next, Fence fence, Now now) {
    state.write(next, fence);
    Attempt attempt =
        Attempt.granted(next.id(), Objects.requireNonNull(next.lease()), now.epochMs());
    state.jobs.insertAttempt(attempt);
    return new Running(next, attempt, deadline(now), now);
  }

  /** When a lease ends that is granted or renewed now. */
  long deadline(Now now) {
    return now.nanos() + leaseNanos;
  }

  /** Nobody's lease ends for one whole lease: heartbeats may wait unread. */
  void quiet(Now now) {
    quietUntilNanos = deadline(now);
    for (Running held : state.running.values()) {
      for (Replica replica : held.replicas) {
        replica.deadlineNanos = Math.max(replica.deadlineNanos, quietUntilNanos);
      }
      takeBack(held);
    }
  }

  /**
   * Ends what is due.
   *
   * @param gangs looks after a lease of several
   */
  void tick(Now now, Consumer<Running> gangs) {
    Timers.@Nullable Timer timer;
    while ((timer = state.timers.poll(now.nanos())) != null) {
      Running held = state.running.get(timer.jobId());
      if (held != null) {
        if (held.timerNanos == timer.nanos()) {
          held.timerNanos = Long.MAX_VALUE;
        }
        if (!held.available) {
          if (held.group != null) {
            gangs.accept(held);
          } else if (freeAt(held) <= now.nanos()) {
            leaseEnded(held, now);
          } else {
            arm(held);
          }
        }
      }
      state.waiting.ring(timer.jobId(), now.nanos());
    }
  }

  /** A worker lists its lease, or its part of it. */
  void listed(Running held, int rank, Now now) {
    held.replicas.get(rank).listed = true;
    renew(held, rank, now);
  }

  /** The holder is there: its lease, or its part of it, begins anew. */
  void renew(Running held, int rank, Now now) {
    Replica replica = held.replicas.get(rank);
    replica.deadlineNanos = deadline(now);
    replica.heardNanos = now.nanos();
    replica.brokenAtNanos = Long.MAX_VALUE;
    if (held.available && held.group != null) {
      // Where one of them is back, the others may be about to be.
      held.quietUntilNanos = now.nanos() + graceNanos;
    }
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

  /** When a replica's part of the lease is over; for a single one: when others may take the job. */
  long freeAt(Running held, Replica replica) {
    long at = replica.deadlineNanos;
    if (replica.brokenAtNanos != Long.MAX_VALUE) {
      at = Math.min(at, replica.brokenAtNanos + graceNanos);
    }
    return notBefore(held, at);
  }

  /** When somebody else may take the next term. */
  long freeAt(Running held) {
    return freeAt(held, held.first());
  }

  /** When the others may go on without this replica, as far as its worker's silence goes. */
  long lostAt(Running held, Replica replica) {
    Group group = Objects.requireNonNull(held.group);
    if (replica.gaveUp) {
      return Long.MIN_VALUE;
    }
    if (replica.brokenAtNanos != Long.MAX_VALUE && group.broken) {
      return Math.max(replica.brokenAtNanos, held.quietUntilNanos);
    }
    long at = replica.heardNanos + silenceNanos;
    if (replica.brokenAtNanos != Long.MAX_VALUE) {
      at = Math.min(at, replica.brokenAtNanos + graceNanos);
    }
    if (isForming(held) && !replica.waiting) {
      at = Math.min(at, group.formByNanos);
    }
    return notBefore(held, at);
  }

  /** When a replica's part of the lease is over, whether the others can go on or not. */
  long overAt(Running held, Replica replica) {
    Group group = Objects.requireNonNull(held.group);
    if (replica.gaveUp) {
      return Long.MIN_VALUE;
    }
    long at = freeAt(held, replica);
    return isForming(held) && !replica.waiting
        ? Math.min(at, notBefore(held, group.formByNanos))
        : at;
  }

  private static boolean isForming(Running held) {
    return !held.attempt.begun();
  }

  private long notBefore(Running held, long at) {
    return Math.max(Math.max(at, quietUntilNanos), held.quietUntilNanos);
  }

  /** When a gang is to be looked at again. */
  private long lookAt(Running held, Group group) {
    long at = group.handOverByNanos;
    if (group.broken) {
      at = Math.min(at, group.decideAtNanos);
    }
    if (!held.available) {
      at = Math.min(at, group.suspectNanos);
      for (Replica replica : held.replicas) {
        at = Math.min(at, lostAt(held, replica));
      }
    }
    return at;
  }

  /** Sets a timer for when the lease is to be looked at. */
  void arm(Running held) {
    arm(held, held.group == null ? freeAt(held) : lookAt(held, held.group));
  }

  /** Sets a timer for a lease. */
  void arm(Running held, long at) {
    if (at < held.timerNanos) {
      held.timerNanos = at;
      state.timers.set(at, held.job.id());
    }
  }

  /** The lease's time is up. It stays the current one until somebody takes the next. */
  void leaseEnded(Running held, Now now) {
    for (Replica replica : held.replicas) {
      @Nullable Worker holder = state.fleet.find(replica.workerId());
      if (holder != null) {
        holder.fellSilent();
        state.fleet.update(holder);
      }
    }
    if (held.job.state() == JobState.PAUSING) {
      Job next = JobTransitions.next(held.job, new JobEvent.Released(PAUSED_SILENT), now);
      endLease(held, next, held.endReason(), now);
      return;
    }
    held.available = true;
    state.waiting.add(held.waiting(), now.nanos());
    state.outbox.notify(held.job, "message", "worker " + held.lease().on() + " is silent", now);
  }

  /** Ends a lease of which no worker told the end, together with its attempt. */
  void endLease(Running held, Job next, String reason, Now now) {
    endLease(held, next, reason, AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED, -1, now);
  }

  /**
   * Ends a lease together with its attempt.
   *
   * @param next what its job becomes
   * @param actor the rank whose worker ended it; -1: none. The others of a gang are told
   */
  void endLease(Running held, Job next, String reason, AttemptOutcome outcome, int actor, Now now) {
    state.write(next, held.job.fence());
    if (held.group != null) {
      state.stopAll(held, actor, reason);
    }
    Attempt ended = held.attempt.ended(now.epochMs(), reason, outcome);
    state.jobs.updateAttempt(ended);
    forget(held);
    state.outbox.notify(
        next,
        "attempt_ended",
        "attempt " + ended.number() + " on " + ended.lease().on() + ": " + reason,
        now);
    if (next.state() == JobState.QUEUED) {
      boolean avoid =
          outcome == AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR
              || (outcome == AttemptOutcome.ATTEMPT_OUTCOME_RELEASED && !ended.begun());
      String culprit = avoid ? held.replicas.get(Math.max(0, actor)).workerId() : "";
      Waiting waits = enqueue(next, culprit, now);
      if (waits.notBeforeNanos() > now.nanos()) {
        standbys.prepare(waits, next, null, false, now);
      }
    }
    settle(next, now);
  }

  /** Takes a job out of memory that is under a lease no more. */
  void forget(Running held) {
    state.departed.add(held);
    state.running.remove(held.job.id());
    state.gangs.remove(held.job.id());
    state.waiting.remove(held.job.id());
    for (Replica replica : held.replicas) {
      @Nullable Worker holder = state.fleet.find(replica.workerId());
      if (holder != null && holder.holds(held.job.id())) {
        holder.drop(held);
        state.fleet.update(holder);
        state.fleet.forgetIfGone(holder);
      }
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
