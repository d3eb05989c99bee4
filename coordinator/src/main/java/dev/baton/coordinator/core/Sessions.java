package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.aborted;
import static dev.baton.coordinator.core.CoordinatorException.invalid;
import static dev.baton.coordinator.core.CoordinatorException.notFound;
import static dev.baton.coordinator.core.CoordinatorException.precondition;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.Draining;
import dev.baton.v1.GroupBroken;
import dev.baton.v1.GroupWaiting;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.HeartbeatReply;
import dev.baton.v1.Hello;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.OrderKind;
import dev.baton.v1.ProbeResult;
import dev.baton.v1.Progress;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.Welcome;
import dev.baton.v1.WorkerInfo;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The workers' streams: who is there, what it holds, how far it has come. */
final class Sessions {
  private static final String GIVEN_UP = "given up by its worker";

  private final CoreState state;
  private final Leases leases;
  private final Standbys standbys;
  private final Gangs gangs;
  private final GangForming forming;
  private final Reach reach;
  private final Placement placement;

  Sessions(
      CoreState state,
      Leases leases,
      Standbys standbys,
      Gangs gangs,
      GangForming forming,
      Reach reach,
      Placement placement) {
    this.state = state;
    this.leases = leases;
    this.standbys = standbys;
    this.gangs = gangs;
    this.forming = forming;
    this.reach = reach;
    this.placement = placement;
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
    if (hello.getWorkerId().contains("\n") || hello.getName().contains("\n")) {
      throw invalid("hello: worker_id and name must be of one line");
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
            .setHeartbeatIntervalMs(state.policy.heartbeat().toMillis())
            .setLeaseMs(state.policy.lease().toMillis());
    // Those that missed an offer keep their order: rank 0 may have the job's end to tell.
    List<LeaseRef> inOrder =
        hello.getLeasesList().stream().sorted(Comparator.comparingInt(LeaseRef::getRank)).toList();
    Set<LeaseRef> listed = new LinkedHashSet<>();
    Map<LeaseRef, LeaseRef> unheard = new LinkedHashMap<>();
    for (LeaseRef ref : inOrder) {
      @Nullable Running held = state.current(ref, worker.id);
      if (held != null && listed.add(ref)) {
        leases.listed(held, ref.getRank(), now);
        welcome.addRenewed(ref);
      }
    }
    for (LeaseRef ref : inOrder) {
      if (state.current(ref, worker.id) == null) {
        @Nullable LeaseRef next = forming.nextOf(ref, worker.id, listed);
        if (next != null) {
          listed.add(next);
          unheard.put(next, ref);
        } else {
          welcome.addEnded(ref);
        }
      }
    }
    state.outbox.send(worker, CoordinatorMessage.newBuilder().setWelcome(welcome).build());
    unheard.forEach((next, before) -> forming.offerAgain(next, before, now));
    for (Running held : worker.heldJobs()) {
      giveUpUnlisted(held, worker, listed, now);
    }
    for (LeaseRef ref : listed) {
      @Nullable Running held = state.current(ref, worker.id);
      if (held != null) {
        if (held.job.state() == JobState.PAUSING && ref.getRank() == 0) {
          state.order(held, held.first(), OrderKind.ORDER_KIND_HAND_OVER, "paused");
        }
        standbys.standBy(held, worker.draining, now);
        gangs.look(held, now);
      }
    }
    if (worker.drainWanted && !worker.draining) {
      orderDrain(worker);
    }
    state.fleet.update(worker);
  }

  /** What a worker does not list in its Hello it does not run. */
  private void giveUpUnlisted(Running held, Worker worker, Set<LeaseRef> listed, Now now) {
    for (Replica replica : held.replicas) {
      if (!replica.workerId().equals(worker.id)
          || replica.gaveUp
          || listed.contains(Outbox.ref(held.job.id(), held.lease(), replica.rank))
          || state.running.get(held.job.id()) != held) {
        continue;
      }
      if (!gangs.goesOnWithout(held, replica.rank, now)) {
        givenUp(held, replica.rank, now);
      }
    }
  }

  private void givenUp(Running held, int rank, Now now) {
    Job next = JobTransitions.next(held.job, new JobEvent.Released(GIVEN_UP), now);
    leases.endLease(held, next, GIVEN_UP, AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED, rank, now);
  }

  /**
   * A worker that was silent is heard of again. What is still available it did not list: the slots
   * must not wait for somebody who takes the next term, who may need them.
   */
  private void backWithout(Running held, Now now) {
    if (!held.available) {
      return;
    }
    if (held.group == null) {
      givenUp(held, 0, now);
    } else {
      gangs.backWithout(held, now);
    }
  }

  /** As {@link Scheduler#heartbeat}. */
  void heartbeat(String workerId, long session, Heartbeat heartbeat, Now now) {
    Worker worker = inSession(workerId, session);
    boolean wasSilent = worker.heard(now);
    worker.prepared.clear();
    worker.prepared.addAll(heartbeat.getPreparedJobsList());
    if (worker.learn(heartbeat)) {
      state.fleet.update(worker);
      state.growthDue = true;
    }
    HeartbeatReply.Builder reply = HeartbeatReply.newBuilder().setSeq(heartbeat.getSeq());
    for (LeaseRef ref : heartbeat.getLeasesList()) {
      @Nullable Running held = state.current(ref, workerId);
      if (held == null) {
        reply.addEnded(ref);
      } else {
        boolean was = held.available;
        leases.listed(held, ref.getRank(), now);
        reply.addRenewed(ref);
        standbys.standBy(held, false, now);
        if (was) {
          gangs.look(held, now);
        }
      }
    }
    state.outbox.send(worker, CoordinatorMessage.newBuilder().setHeartbeatReply(reply).build());
    for (String jobId : heartbeat.getPreparedJobsList()) {
      if (worker.told.get(jobId) == Worker.Preparation.JOIN) {
        placement.joinerReady(jobId, worker, now);
      }
    }
    if (wasSilent) {
      // Whatever it listed is taken back by now.
      worker.heldJobs().forEach(held -> backWithout(held, now));
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
    int rank = report.getLease().getRank();
    if (held.group != null && report.hasReplica()) {
      Replica replica = held.replicas.get(rank);
      replica.progress =
          report.getReplica().toBuilder().setRank(rank).setWorker(replica.workerName()).build();
    }
    if (rank > 0) {
      return;
    }
    gangs.stepped(held, now);
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
            .addAllWorkers(held.lease().workerNames())
            .setProgress(held.progressOfAll());
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

  /** As {@link Scheduler#groupWaiting}. */
  void groupWaiting(String workerId, long session, GroupWaiting message, Now now) {
    inSession(workerId, session);
    @Nullable Running held = state.current(message.getLease(), workerId);
    if (held != null) {
      gangs.groupWaiting(held, message, now);
    }
  }

  /** As {@link Scheduler#groupBroken}. */
  void groupBroken(String workerId, long session, GroupBroken message, Now now) {
    inSession(workerId, session);
    @Nullable Running held = state.current(message.getLease(), workerId);
    if (held != null) {
      gangs.groupBroken(held, message, now);
    }
  }

  /** As {@link Scheduler#probeResult}. */
  void probeResult(String workerId, long session, ProbeResult message, Now now) {
    inSession(workerId, session).lastHeardNanos = now.nanos();
    reach.answer(workerId, message.getProbeId(), message.getWorkerIdsList(), now);
    gangs.probed(now);
    state.growthDue = true;
  }

  /** As {@link Scheduler#draining}. */
  void draining(String workerId, long session, Draining message, Now now) {
    Worker worker = inSession(workerId, session);
    if (message.getOver()) {
      worker.draining = false;
      state.fleet.update(worker);
    } else {
      drain(worker, message.getReason(), now);
    }
  }

  private void drain(Worker worker, String reason, Now now) {
    worker.draining = true;
    state.fleet.update(worker);
    for (Running held : worker.heldJobs()) {
      state.outbox.notify(held.job, "message", "worker " + worker.name + " leaves: " + reason, now);
      standbys.standBy(held, true, now);
      gangs.look(held, now);
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
    for (Running held : worker.heldJobs()) {
      for (Replica replica : held.replicas) {
        if (replica.workerId().equals(workerId)) {
          replica.brokenAtNanos = now.nanos();
        }
      }
      leases.arm(held);
      standbys.prepare(held.waiting(), held.job, worker, false, now);
      gangs.look(held, now);
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
    for (Running held : worker.heldJobs()) {
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
