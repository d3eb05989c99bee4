package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.aborted;
import static dev.baton.coordinator.core.CoordinatorException.invalid;
import static dev.baton.coordinator.core.CoordinatorException.notFound;
import static dev.baton.coordinator.core.CoordinatorException.precondition;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.Draining;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.HeartbeatReply;
import dev.baton.v1.Hello;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.OrderKind;
import dev.baton.v1.Progress;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.Welcome;
import dev.baton.v1.WorkerInfo;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The workers' streams: who is there, what it holds, how far it has come. */
final class Sessions {
  private final CoreState state;
  private final Leases leases;
  private final Standbys standbys;
  private final LeasePolicy policy;

  Sessions(CoreState state, Leases leases, Standbys standbys, LeasePolicy policy) {
    this.state = state;
    this.leases = leases;
    this.standbys = standbys;
    this.policy = policy;
  }

  /** As {@link Scheduler#openSession}. */
  void openSession(Hello hello, Now now) {
    if (hello.getProtocol() != Scheduler.PROTOCOL) {
      throw precondition(
          "the worker speaks protocol "
              + hello.getProtocol()
              + ", this coordinator "
              + Scheduler.PROTOCOL
              + "; install the same release on both");
    }
    if (hello.getWorkerId().isEmpty() || hello.getSession() < 1 || hello.getSlots() < 1) {
      throw invalid("hello: worker_id, session and slots must be set");
    }
    @Nullable Worker known = state.fleet.find(hello.getWorkerId());
    if (known != null && hello.getSession() <= known.session) {
      throw aborted(
          "session "
              + hello.getSession()
              + " of worker "
              + known.name
              + " is over; "
              + known.session
              + " is there");
    }
    if (known != null && known.connected) {
      state.outbox.add(new Effect.CloseSession(known.id, known.session, "a newer session exists"));
    }
    Worker worker = state.fleet.get(hello.getWorkerId(), hello.getName());
    worker.greet(hello, now);
    Welcome.Builder welcome =
        Welcome.newBuilder()
            .setHeartbeatIntervalMs(policy.heartbeat().toMillis())
            .setLeaseMs(policy.lease().toMillis());
    Set<String> listed = new HashSet<>();
    List<Running> renewed = new ArrayList<>();
    for (LeaseRef ref : hello.getLeasesList()) {
      @Nullable Running held = state.current(ref, worker.id);
      if (held == null) {
        welcome.addEnded(ref);
      } else if (listed.add(ref.getJobId())) {
        leases.renew(held, now);
        renewed.add(held);
        welcome.addRenewed(ref);
      }
    }
    state.outbox.send(worker, CoordinatorMessage.newBuilder().setWelcome(welcome).build());
    for (String jobId : List.copyOf(worker.heldIds())) {
      @Nullable Running held = state.running.get(jobId);
      if (held != null && !listed.contains(jobId)) {
        Job next =
            JobTransitions.next(held.job, new JobEvent.Released("given up by its worker"), now);
        leases.endLease(
            held, next, "given up by its worker", AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED, now);
      }
    }
    for (Running held : renewed) {
      if (held.job.state() == JobState.PAUSING) {
        state.order(held, OrderKind.ORDER_KIND_HAND_OVER, "paused");
      }
      standbys.standBy(held, worker.draining, now);
    }
    if (worker.drainWanted && !worker.draining) {
      orderDrain(worker);
    }
    state.fleet.update(worker);
  }

  /** As {@link Scheduler#heartbeat}. */
  void heartbeat(String workerId, long session, Heartbeat heartbeat, Now now) {
    Worker worker = inSession(workerId, session);
    boolean wasSilent = worker.heard(now);
    worker.prepared.clear();
    worker.prepared.addAll(heartbeat.getPreparedJobsList());
    HeartbeatReply.Builder reply = HeartbeatReply.newBuilder().setSeq(heartbeat.getSeq());
    for (LeaseRef ref : heartbeat.getLeasesList()) {
      @Nullable Running held = state.current(ref, workerId);
      if (held == null) {
        reply.addEnded(ref);
      } else {
        leases.renew(held, now);
        reply.addRenewed(ref);
        standbys.standBy(held, false, now);
      }
    }
    state.outbox.send(worker, CoordinatorMessage.newBuilder().setHeartbeatReply(reply).build());
    if (wasSilent) {
      state.fleet.update(worker);
    }
  }

  /** As {@link Scheduler#progress}. */
  void progress(String workerId, long session, ProgressReport report, Now now) {
    inSession(workerId, session);
    @Nullable Running held = state.current(report.getLease(), workerId);
    if (held == null || !held.attempt.begun()) {
      return;
    }
    Progress progress = report.getProgress();
    long step = progress.getStep();
    boolean stepped = step > held.attempt.lastStep() && step > held.attempt.resumedStep();
    if (step < held.progress.getStep()) {
      return;
    }
    held.progress =
        progress.getTotalSteps() > 0
            ? progress
            : progress.toBuilder().setTotalSteps(held.progress.getTotalSteps()).build();
    if (stepped) {
      held.attempt = held.attempt.reached(step);
    }
    dev.baton.v1.JobEvent.Builder event =
        dev.baton.v1.JobEvent.newBuilder()
            .setTimeMs(now.epochMs())
            .setState(JobViews.state(held.job.state()))
            .setEvent(stepped ? "step" : "message")
            .addWorkers(held.lease().workerName())
            .setProgress(held.progress);
    if (stepped) {
      event.setStep(step);
      if (progress.hasLoss()) {
        event.setLoss(progress.getLoss());
      }
    } else {
      event.setMessage(progress.getPhase());
    }
    state.outbox.add(new Effect.Notify(held.job.id(), event.build()));
    standbys.standBy(held, false, now);
  }

  /** As {@link Scheduler#draining}. */
  void draining(String workerId, long session, Draining message, Now now) {
    drain(inSession(workerId, session), message.getReason(), now);
  }

  private void drain(Worker worker, String reason, Now now) {
    worker.draining = true;
    state.fleet.update(worker);
    for (Running held : List.copyOf(worker.heldJobs())) {
      state.outbox.notify(held.job, "message", "worker " + worker.name + " leaves: " + reason, now);
      standbys.standBy(held, true, now);
    }
  }

  /** As {@link Scheduler#closeSession}. */
  void closeSession(String workerId, long session, Now now) {
    @Nullable Worker worker = state.fleet.find(workerId);
    if (worker == null || !worker.connected || worker.session != session) {
      return;
    }
    worker.disconnect();
    state.fleet.update(worker);
    for (Running held : List.copyOf(worker.heldJobs())) {
      held.brokenAtNanos = now.nanos();
      leases.arm(held);
      standbys.prepare(held.waiting(), held.job, worker, false, now);
    }
    state.fleet.forgetIfGone(worker);
  }

  /** As {@link Scheduler#workers}. */
  List<WorkerInfo> workers() {
    return state.fleet.all().stream().map(Sessions::info).toList();
  }

  /** As {@link Scheduler#drainWorker}. */
  WorkerInfo drainWorker(String idOrName, Now now) {
    List<Worker> named =
        state.fleet.all().stream()
            .filter(w -> w.id.equals(idOrName) || w.name.equals(idOrName))
            .toList();
    if (named.isEmpty()) {
      throw notFound("there is no worker " + idOrName);
    }
    if (named.size() > 1) {
      throw precondition(
          named.size()
              + " workers are named "
              + idOrName
              + "; use an id: "
              + String.join(", ", named.stream().map(w -> w.id).toList()));
    }
    Worker worker = named.get(0);
    worker.drainWanted = true;
    state.fleet.update(worker);
    orderDrain(worker);
    for (Running held : List.copyOf(worker.heldJobs())) {
      standbys.standBy(held, true, now);
    }
    return info(worker);
  }

  private static WorkerInfo info(Worker worker) {
    return WorkerInfo.newBuilder()
        .setId(worker.id)
        .setName(worker.name)
        .setState(
            !worker.connected
                ? "LOST"
                : worker.draining || worker.drainWanted ? "DRAINING" : "ACTIVE")
        .setMachine(worker.machine)
        .setSlots(worker.slots)
        .addAllJobs(worker.heldIds())
        .setConnectedAtMs(worker.connectedAtMs)
        .build();
  }

  private void orderDrain(Worker worker) {
    state.outbox.order(
        worker, LeaseRef.getDefaultInstance(), OrderKind.ORDER_KIND_DRAIN, "asked to drain");
  }

  private Worker inSession(String workerId, long session) {
    @Nullable Worker worker = state.fleet.find(workerId);
    if (worker == null || !worker.connected || worker.session != session) {
      throw aborted("session " + session + " of worker " + workerId + " is over");
    }
    return worker;
  }
}
