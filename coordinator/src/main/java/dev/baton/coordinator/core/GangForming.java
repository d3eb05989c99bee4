package dev.baton.coordinator.core;

import dev.baton.v1.Assignment;
import dev.baton.v1.CheckpointKept;
import dev.baton.v1.CollectiveBackend;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.GroupReady;
import dev.baton.v1.GroupWaiting;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Offer;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * How the replicas of a lease come together: each is offered its part, says when it waits for the
 * others, and is told when all do.
 */
final class GangForming {
  private final CoreState state;
  private final Leases leases;
  private final Standbys standbys;

  GangForming(CoreState state, Leases leases, Standbys standbys) {
    this.state = state;
    this.leases = leases;
    this.standbys = standbys;
  }

  // ---- Offers

  /** Puts a lease that was just granted in its place, and tells its workers. */
  void lead(Running taken) {
    state.running.put(taken.job.id(), taken);
    if (taken.group != null) {
      state.gangs.add(taken.job.id());
    }
    for (Worker worker : state.workers(taken)) {
      worker.told.remove(taken.job.id());
      worker.take(taken);
      state.fleet.update(worker);
      if (!worker.hasFreeSlot()) {
        for (String other : List.copyOf(worker.told.keySet())) {
          standbys.unprepare(other);
        }
      }
    }
    leases.arm(taken);
    offer(taken);
  }

  /** Offers every replica its part of a lease that was just granted. */
  private void offer(Running held) {
    Assignment assignment = standbys.assignment(held.job, false);
    held.replicas.forEach(replica -> offer(held, replica, assignment));
  }

  private void offer(Running held, Replica to, Assignment assignment) {
    List<Worker> ranks = state.workers(held);
    Worker worker = ranks.get(to.rank);
    Assignment.Builder part = assignment.toBuilder();
    if (held.group != null) {
      part.setWorldSize(ranks.size())
          .setGroup(held.job.id() + "/" + held.lease().term())
          .setAddress(Sites.shareMachine(ranks) ? "127.0.0.1" : worker.advertiseHost)
          .setBackend(backend(held.needs, ranks));
      if (held.group.follows && to.continues == null) {
        part.setJoins(true).clearCheckpoints();
      }
    }
    Offer.Builder offer =
        Offer.newBuilder()
            .setLease(Outbox.ref(held.job.id(), held.lease(), to.rank))
            .setAssignment(part);
    if (to.continues != null) {
      offer.setContinues(to.continues);
    }
    state.outbox.send(worker, CoordinatorMessage.newBuilder().setOffer(offer).build());
  }

  private static CollectiveBackend backend(Requirements needs, List<Worker> ranks) {
    return ranks.stream().allMatch(worker -> needs.gpusOn(worker.machine) > 0)
        ? CollectiveBackend.COLLECTIVE_BACKEND_NCCL
        : CollectiveBackend.COLLECTIVE_BACKEND_GLOO;
  }

  /**
   * Makes an offer again to a worker that is back and did not hear it.
   *
   * @param before what it holds
   */
  void offerAgain(LeaseRef lease, LeaseRef before, Now now) {
    @Nullable Running held = state.running.get(lease.getJobId());
    if (held != null) {
      Replica replica = held.replicas.get(lease.getRank());
      replica.continues = before;
      leases.renew(held, lease.getRank(), now);
      offer(held, replica, standbys.assignment(held.job, false));
    }
  }

  /**
   * The current lease that follows an older one which a worker lists, because it did not hear the
   * offer; null where there is none. All replicas have the same state: a worker's ranks are given
   * out in their order.
   *
   * @param listed what the worker is known to have heard of, or is about to
   */
  @Nullable LeaseRef nextOf(LeaseRef before, String workerId, Set<LeaseRef> listed) {
    @Nullable Running held = state.running.get(before.getJobId());
    if (held != null && held.group != null && held.group.follows) {
      for (Replica replica : held.replicas) {
        LeaseRef ref = Outbox.ref(held.job.id(), held.lease(), replica.rank);
        if (replica.workerId().equals(workerId)
            && !replica.gaveUp
            && !replica.listed
            && !listed.contains(ref)) {
          return leadsTo(before, held.lease()) ? ref : null;
        }
      }
    }
    return null;
  }

  /** Whether those who ran a term went on with the others, term after term, to this lease. */
  private boolean leadsTo(LeaseRef before, Lease lease) {
    if (before.getTerm() >= lease.term()) {
      return false;
    }
    for (long term = before.getTerm(); term < lease.term(); term++) {
      @Nullable Attempt attempt = state.jobs.attempt(before.getJobId(), term).orElse(null);
      if (attempt == null
          || !attempt.endReason().equals(Gangs.REGROUPED)
          || (term == before.getTerm() && !attempt.lease().leaseId().equals(before.getLeaseId()))) {
        return false;
      }
    }
    return true;
  }

  // ---- The group

  /** A replica waits for the others. */
  void waits(Running held, Group group, GroupWaiting message) {
    Replica replica = held.replicas.get(message.getLease().getRank());
    replica.waiting = true;
    if (replica.rank == 0) {
      replica.port = message.getPort();
    }
    if (group.ready) {
      // It asks again: what it was told is lost.
      ready(held, replica);
    } else if (held.replicas.stream().allMatch(r -> r.waiting)) {
      group.ready = true;
      held.replicas.forEach(r -> ready(held, r));
    }
  }

  private void ready(Running held, Replica to) {
    List<Worker> ranks = state.workers(held);
    Worker store = ranks.get(0);
    state.outbox.send(
        ranks.get(to.rank),
        CoordinatorMessage.newBuilder()
            .setGroupReady(
                GroupReady.newBuilder()
                    .setLease(Outbox.ref(held.job.id(), held.lease(), to.rank))
                    .setStoreHost(Sites.shareMachine(ranks) ? "127.0.0.1" : store.advertiseHost)
                    .setStorePort(held.first().port))
            .build());
  }

  /** Rank 0 has committed a checkpoint: the others need keep no points up to it. */
  void checkpointKept(Running held, long step) {
    if (held.group == null) {
      return;
    }
    for (Replica replica : held.replicas) {
      @Nullable Worker worker = state.fleet.find(replica.workerId());
      if (replica.rank > 0 && worker != null) {
        state.outbox.send(
            worker,
            CoordinatorMessage.newBuilder()
                .setCheckpointKept(
                    CheckpointKept.newBuilder()
                        .setLease(Outbox.ref(held.job.id(), held.lease(), replica.rank))
                        .setStep(step))
                .build());
      }
    }
  }
}
