package dev.baton.coordinator.core;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.Offer;
import java.util.List;
import java.util.Optional;
import java.util.PriorityQueue;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;

/** Which waiting job goes to which worker, and the grant of its lease. */
final class Placement {
  private static final long RELOAD_PAUSE_NANOS = 1_000_000_000L;

  private final CoreState state;
  private final Leases leases;
  private final Standbys standbys;
  private final RandomGenerator random;
  private long placeNotBeforeNanos = Long.MIN_VALUE;

  Placement(CoreState state, Leases leases, Standbys standbys, RandomGenerator random) {
    this.state = state;
    this.leases = leases;
    this.standbys = standbys;
    this.random = random;
  }

  /** Grants nothing for a second, so that a full disk does not turn into a storm of reloads. */
  void pause(Now now) {
    placeNotBeforeNanos = now.nanos() + RELOAD_PAUSE_NANOS;
  }

  /** Grants what can be granted. Costs nothing where nothing became free and nothing new waits. */
  void place(Now now) {
    if (now.nanos() < placeNotBeforeNanos) {
      return;
    }
    List<WaitingQueue.Lane> lanes;
    if (state.fleet.takeRoomier()) {
      state.waiting.takeFresh();
      lanes = state.waiting.lanes();
    } else {
      lanes = state.waiting.takeFresh();
    }
    PriorityQueue<WaitingQueue.Lane> untried =
        new PriorityQueue<>((a, b) -> Long.compare(a.first().seq(), b.first().seq()));
    untried.addAll(lanes);
    while (state.fleet.hasRoom() && !untried.isEmpty()) {
      WaitingQueue.Lane lane = untried.poll();
      Waiting first = lane.first();
      @Nullable Running held = state.running.get(first.jobId());
      Optional<Worker> worker =
          state.fleet.choose(
              first,
              standbys.standby(first.jobId()),
              held == null ? null : state.fleet.find(held.lease().workerId()),
              now);
      if (worker.isPresent()) {
        grant(first, held, worker.get(), now);
        if (!lane.isEmpty()) {
          untried.add(lane);
        }
      }
    }
  }

  private void grant(Waiting waits, @Nullable Running held, Worker worker, Now now) {
    Job job = held != null ? held.job : state.find(waits.jobId());
    Fence fence = job.fence();
    Job free = job;
    if (held != null) {
      String reason = held.endReason();
      free = JobTransitions.next(job, new JobEvent.Lost(reason), now);
      if (free.state().ended()) {
        leases.endLease(held, free, reason, AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED, now);
        return;
      }
      state.jobs.updateAttempt(
          held.attempt.ended(now.epochMs(), reason, AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED));
      leases.forget(held);
      state.outbox.notify(job, "worker_lost", held.lease().workerName() + ": " + reason, now);
    }
    state.waiting.remove(job.id());
    Lease lease = new Lease(job.term() + 1, Ids.lease(random), worker.id, worker.name);
    Job granted =
        JobTransitions.next(
            free, new JobEvent.Granted(lease, waits.needs().kindOn(worker.machine)), now);
    state.write(granted, fence);
    Attempt attempt = Attempt.granted(job.id(), lease, now.epochMs());
    state.jobs.insertAttempt(attempt);
    Running taken = new Running(granted, attempt, leases.deadline(now));
    state.running.put(job.id(), taken);
    worker.take(taken);
    leases.arm(taken);
    if (worker.id.equals(state.standbys.get(job.id()))) {
      state.standbys.remove(job.id());
    }
    worker.told.remove(job.id());
    state.fleet.update(worker);
    if (!worker.hasFreeSlot()) {
      for (String other : List.copyOf(worker.told.keySet())) {
        standbys.unprepare(other);
      }
    }
    state.outbox.notify(granted, "state", "leased to " + worker.name, now);
    state.outbox.send(
        worker,
        CoordinatorMessage.newBuilder()
            .setOffer(
                Offer.newBuilder()
                    .setLease(Outbox.ref(job.id(), lease))
                    .setAssignment(standbys.assignment(granted, lease.term(), false)))
            .build());
  }
}
