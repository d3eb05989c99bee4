package dev.baton.coordinator.core;

import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.JobEvent;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Order;
import dev.baton.v1.OrderKind;
import dev.baton.v1.Unprepare;
import java.util.ArrayList;
import java.util.List;

/** Effects that wait for their transaction. */
final class Outbox {
  private List<Effect> effects = new ArrayList<>();

  List<Effect> drain() {
    if (effects.isEmpty()) {
      return List.of();
    }
    List<Effect> drained = effects;
    effects = new ArrayList<>();
    return drained;
  }

  void add(Effect effect) {
    effects.add(effect);
  }

  /** To a worker's stream, where it has one. */
  void send(Worker worker, CoordinatorMessage message) {
    if (worker.connected) {
      effects.add(new Effect.Send(worker.id, worker.session, message));
    }
  }

  void order(Worker worker, LeaseRef lease, OrderKind kind, String reason) {
    send(
        worker,
        CoordinatorMessage.newBuilder()
            .setOrder(Order.newBuilder().setLease(lease).setKind(kind).setReason(reason))
            .build());
  }

  void unprepare(Worker worker, String jobId) {
    send(
        worker,
        CoordinatorMessage.newBuilder()
            .setUnprepare(Unprepare.newBuilder().setJobId(jobId))
            .build());
  }

  /** An event of a job, without the fields that belong to steps. */
  void notify(Job job, String event, String message, Now now) {
    JobEvent.Builder view =
        JobEvent.newBuilder()
            .setTimeMs(now.epochMs())
            .setState(JobViews.state(job.state()))
            .setEvent(event)
            .setMessage(message);
    Lease lease = job.lease();
    if (lease != null) {
      view.addAllWorkers(lease.workerNames());
    }
    effects.add(new Effect.Notify(job.id(), view.build()));
  }

  /** How one replica names its lease. */
  static LeaseRef ref(String jobId, Lease lease, int rank) {
    return LeaseRef.newBuilder()
        .setJobId(jobId)
        .setTerm(lease.term())
        .setLeaseId(lease.leaseId())
        .setRank(rank)
        .build();
  }
}
