package dev.baton.coordinator.core;

import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.CheckpointKept;
import dev.baton.v1.CollectiveBackend;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.GroupBroken;
import dev.baton.v1.GroupReady;
import dev.baton.v1.GroupWaiting;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Offer;
import dev.baton.v1.OrderKind;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;

/**
 * Which replicas of a running job go on together. Each change is a new term, so that whoever is
 * left out can store nothing any more; those who stay keep their state in memory. Never fewer than
 * the job's least number: then the lease ends, and the job waits for a whole gang again.
 */
final class Gangs {
  private static final long MILLI = 1_000_000;
  private static final long SECOND = 1_000 * MILLI;

  /** After a group broke, for news of who is missing. */
  static final long NEWS_NANOS = 250 * MILLI;

  /** For those who go on to be ready for the next group. */
  static final long FORM_NANOS = 60 * SECOND;

  /** Groups that break without a step and with nobody missing, in a row, end the lease. */
  static final int FRUITLESS_LIMIT = 5;

  /**
   * Without a step, a group of several machines may have been cut: where packets are dropped, those
   * who wait for them learn nothing for minutes.
   */
  static final long SUSPECT_NANOS = 4 * SECOND;

  /** After the machines were found to reach each other: they are just slow. */
  private static final long UNSUSPECTED_NANOS = 30 * SECOND;

  /** How an attempt ends whose replicas go on in the next. */
  static final String REGROUPED = "regrouped";

  private static final long JOIN_NANOS = 600 * SECOND;
  private static final long AVOID_NANOS = 5 * SECOND;
  private static final int AVOID_DOUBLINGS = 4;
  private static final long HAND_OVER_NANOS = 60 * SECOND;

  private final CoreState state;
  private final Leases leases;
  private final Standbys standbys;
  private final Reach reach;
  private final RandomGenerator random;

  /** Jobs whose broken group waits for probes. */
  private final Set<String> probing = new LinkedHashSet<>();

  Gangs(CoreState state, Leases leases, Standbys standbys, Reach reach, RandomGenerator random) {
    this.state = state;
    this.leases = leases;
    this.standbys = standbys;
    this.reach = reach;
    this.random = random;
  }

  // ---- The grant

  /** Offers every replica its part of a lease that was just granted. */
  private void offer(Running held) {
    Assignment assignment = standbys.assignment(held.job, held.lease().term(), false);
    held.replicas.forEach(replica -> offer(held, replica, assignment));
  }

  private void offer(Running held, Replica to, Assignment assignment) {
    List<Worker> ranks = workers(held);
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
          || !attempt.endReason().equals(REGROUPED)
          || (term == before.getTerm() && !attempt.lease().leaseId().equals(before.getLeaseId()))) {
        return false;
      }
    }
    return true;
  }

  /** What a coordinator that has just started can tell of a gang. */
  void loaded(Running held, Now now) {
    Group group = held.group;
    if (group == null) {
      return;
    }
    group.follows =
        state
            .jobs
            .attempt(held.job.id(), held.lease().term() - 1)
            .filter(a -> a.endReason().equals(REGROUPED))
            .isPresent();
    if (group.follows) {
      group.formByNanos = now.nanos() + FORM_NANOS;
    }
    if (held.job.state() == JobState.PAUSING && held.attempt.begun()) {
      handsOver(held, now);
    }
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
      offer(held, replica, standbys.assignment(held.job, lease.getTerm(), false));
    }
  }

  private static CollectiveBackend backend(Requirements needs, List<Worker> ranks) {
    return ranks.stream().allMatch(worker -> needs.gpusOn(worker.machine) > 0)
        ? CollectiveBackend.COLLECTIVE_BACKEND_NCCL
        : CollectiveBackend.COLLECTIVE_BACKEND_GLOO;
  }

  /** A worker for each replica, by rank. */
  private List<Worker> workers(Running held) {
    return held.replicas.stream().map(r -> state.fleet.get(r.workerId(), r.workerName())).toList();
  }

  // ---- The group forms

  /** As {@link Scheduler#groupWaiting}. */
  void groupWaiting(Running held, GroupWaiting message, Now now) {
    Group group = held.group;
    if (group == null || group.broken) {
      return;
    }
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
    look(held, now);
  }

  private void ready(Running held, Replica to) {
    List<Worker> ranks = workers(held);
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

  /** As {@link Scheduler#groupBroken}. */
  void groupBroken(Running held, GroupBroken message, Now now) {
    if (held.group != null) {
      held.replicas.get(message.getLease().getRank()).broke = true;
      breaks(held.group, message.getMessage(), now);
      look(held, now);
    }
  }

  private static void breaks(Group group, String message, Now now) {
    if (!group.broken) {
      group.broken = true;
      group.brokenMessage = message;
      group.decideAtNanos = now.nanos() + (NEWS_NANOS << Math.min(group.fruitless, 5));
    }
  }

  /** Rank 0 has begun: the group stands. */
  void begun(Running held, Now now) {
    Group group = held.group;
    if (group == null) {
      return;
    }
    state.growthDue = true;
    stepped(group, now);
    if (held.job.state() == JobState.PAUSING && group.follows) {
      // The order went to the term before.
      handsOver(held, now);
      state.order(held, held.first(), OrderKind.ORDER_KIND_HAND_OVER, "paused");
    }
    look(held, now);
  }

  // ---- Who is lost, who leaves

  /**
   * A replica's worker has given it up.
   *
   * @return whether the job goes on; false: the caller ends the lease
   */
  boolean goesOnWithout(Running held, int rank, Now now) {
    Group group = held.group;
    if (group == null) {
      return false;
    }
    held.replicas.get(rank).gaveUp = true;
    if (rank > 0 && isHandingOver(held, group, now)) {
      look(held, now);
      return true;
    }
    if (isEnough(held, held.replicas.stream().filter(r -> !isLost(held, r, true, now)).toList())) {
      look(held, now);
      return true;
    }
    return false;
  }

  /** A worker that loses one replica is asked for another at once; one that loses many is not. */
  private static void avoid(Group group, Replica replica, Now now) {
    int losses = group.losses.merge(replica.workerId(), 1, Integer::sum);
    if (losses > 1) {
      group.avoidUntil.put(
          replica.workerId(), now.nanos() + (AVOID_NANOS << Math.min(losses - 2, AVOID_DOUBLINGS)));
    }
  }

  /**
   * Whether the others are to go on without a replica.
   *
   * @param anyway whether they form a new group in any case: a broken stream gets no grace then
   */
  private boolean isLost(Running held, Replica replica, boolean anyway, Now now) {
    return leases.lostAt(held, replica) <= now.nanos()
        || (anyway
            && replica.brokenAtNanos != Long.MAX_VALUE
            && held.quietUntilNanos <= now.nanos());
  }

  private boolean leaves(Replica replica) {
    @Nullable Worker worker = state.fleet.find(replica.workerId());
    return worker != null && worker.connected && worker.draining;
  }

  /** Rank 0 was told to hand over; those who leave meanwhile do not end the lease. */
  void handsOver(Running held, Now now) {
    if (held.group != null && held.group.handOverByNanos == Long.MAX_VALUE) {
      held.group.handOverByNanos = now.nanos() + HAND_OVER_NANOS;
    }
  }

  /** Looks whether the replicas of a running job can go on together as they are. */
  void look(Running held, Now now) {
    Group group = held.group;
    if (group == null || held.available || state.running.get(held.job.id()) != held) {
      return;
    }
    suspect(held, group, now);
    boolean cause =
        group.broken
            || held.replicas.stream()
                .anyMatch(r -> leaves(r) || leases.lostAt(held, r) <= now.nanos());
    if (!cause || !settle(held, group, now)) {
      armAhead(held, group, now);
    }
  }

  /** Rank 0 has made a step, or said what it does instead. */
  void stepped(Running held, Now now) {
    if (held.group != null) {
      stepped(held.group, now);
    }
  }

  private static void stepped(Group group, Now now) {
    group.suspectNanos = now.nanos() + SUSPECT_NANOS;
  }

  /** Finds out by probes why a group of several machines makes no step. */
  private void suspect(Running held, Group group, Now now) {
    if (group.broken || !held.attempt.begun() || now.nanos() < group.suspectNanos) {
      return;
    }
    List<Worker> ranks = workers(held);
    Set<Worker> workers = new LinkedHashSet<>(ranks);
    if (Sites.shareMachine(ranks) || !workers.stream().allMatch(w -> w.connected)) {
      group.suspectNanos = now.nanos() + UNSUSPECTED_NANOS;
      return;
    }
    if (awaitsProbes(held, group, workers, now)) {
      return;
    }
    if (Sites.reachingEachOther(ranks, (a, b) -> reached(a, b, now)).size() == workers.size()) {
      group.suspectNanos = now.nanos() + UNSUSPECTED_NANOS;
      return;
    }
    breaks(group, "no step, and its machines do not reach each other", now);
    group.decideAtNanos = now.nanos();
    group.probed = true;
  }

  /**
   * Whether what these workers find when they try each other is still to be awaited. Nothing that
   * was known before counts.
   */
  private boolean awaitsProbes(Running held, Group group, Set<Worker> workers, Now now) {
    if (!group.probing) {
      group.probing = true;
      probing.add(held.job.id());
      reach.forget(workers);
    }
    reach.expire(now);
    if (isUnknown(workers, now)) {
      reach.ask(workers, now);
      return true;
    }
    group.probing = false;
    probing.remove(held.job.id());
    return false;
  }

  /** Returns whether this lease is no more, or waits to be taken by others. */
  private boolean settle(Running held, Group group, Now now) {
    if (isHandingOver(held, group, now)) {
      return false;
    }
    List<Replica> lost = new ArrayList<>();
    List<Replica> rest = new ArrayList<>();
    List<Replica> stay = new ArrayList<>();
    for (Replica replica : held.replicas) {
      if (isLost(held, replica, true, now)) {
        lost.add(replica);
      } else {
        rest.add(replica);
        if (!leaves(replica)) {
          stay.add(replica);
        }
      }
    }
    if (lost.isEmpty() && stay.size() == rest.size()) {
      return decide(held, group, now);
    }
    if (isEnough(held, stay)) {
      return regroup(held, stay, null, now);
    }
    if (!lost.isEmpty() && isEnough(held, rest)) {
      return regroup(held, rest, null, now);
    }
    if (lost.isEmpty()) {
      // Too few would remain.
      if (group.broken) {
        return decide(held, group, now);
      }
      handOver(held, group, now);
      return false;
    }
    if (isEnough(
        held, held.replicas.stream().filter(r -> leases.overAt(held, r) > now.nanos()).toList())) {
      return false;
    }
    if (rest.isEmpty() && held.replicas.stream().noneMatch(r -> isHeardOf(r, now))) {
      leases.leaseEnded(held, now);
    } else {
      end(held, held.endReason(), now);
    }
    return true;
  }

  /** Whether these could go on by themselves: with the state, and not too few. */
  private static boolean isEnough(Running held, List<Replica> part) {
    return part.size() >= held.needs.minReplicas()
        && (held.attempt.begun() || part.stream().anyMatch(r -> !r.stateless));
  }

  /**
   * Whether rank 0 was told to hand over, and may be about to. It needs none of the others for
   * that, and makes no further step: theirs break off when its trainer has stopped. Where its own
   * does, it did not come to its end, and hands over in the next group.
   */
  private boolean isHandingOver(Running held, Group group, Now now) {
    return group.handOverByNanos != Long.MAX_VALUE
        && group.handOverByNanos > now.nanos()
        && !held.first().broke
        && !isLost(held, held.first(), true, now);
  }

  private boolean isHeardOf(Replica replica, Now now) {
    @Nullable Worker worker = state.fleet.find(replica.workerId());
    return worker != null && worker.connected && !state.fleet.silent(worker, now);
  }

  /**
   * A worker that was silent is heard of again. Where it does not list its replicas, their slots
   * must not wait for the job that waits for slots.
   */
  void backWithout(Running held, Worker worker, Now now) {
    if (held.group != null
        && held.available
        && held.replicas.stream().anyMatch(r -> r.workerId().equals(worker.id))) {
      end(held, held.endReason(), now);
    }
  }

  /** Ends the lease of a gang of which too few remain. */
  private void end(Running held, String reason, Now now) {
    JobEvent event =
        held.job.state() == JobState.PAUSING
            ? new JobEvent.Released("paused; its worker fell silent")
            : new JobEvent.Lost(reason);
    Job next = JobTransitions.next(held.job, event, now);
    leases.endLease(held, next, reason, AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED, -1, now);
  }

  private void handOver(Running held, Group group, Now now) {
    if (!held.attempt.begun() || group.handOverByNanos != Long.MAX_VALUE) {
      return;
    }
    handsOver(held, now);
    state.order(held, held.first(), OrderKind.ORDER_KIND_HAND_OVER, "one of its workers leaves");
  }

  /** The group broke, and nobody is known to be missing. */
  private boolean decide(Running held, Group group, Now now) {
    List<Worker> ranks = workers(held);
    if (now.nanos() < group.decideAtNanos || !ranks.stream().allMatch(w -> w.connected)) {
      return false;
    }
    if (!Sites.shareMachine(ranks)) {
      Set<Worker> workers = new LinkedHashSet<>(ranks);
      if (!group.probed && awaitsProbes(held, group, workers, now)) {
        return false;
      }
      group.probed = true;
      Set<Worker> part = Sites.reachingEachOther(ranks, (a, b) -> reached(a, b, now));
      if (part.size() < workers.size()) {
        List<Replica> rest =
            held.replicas.stream().filter(r -> part.contains(ranks.get(r.rank))).toList();
        if (isEnough(held, rest)) {
          return regroup(held, rest, null, now);
        }
        end(held, "its workers do not reach each other", now);
        return true;
      }
    }
    if (held.attempt.lastStep() == 0) {
      group.fruitless++;
    } else {
      group.fruitless = 0;
    }
    if (group.fruitless >= FRUITLESS_LIMIT) {
      end(
          held,
          "its replicas could not go on together, "
              + group.fruitless
              + " times in a row: "
              + group.brokenMessage,
          now);
      return true;
    }
    return regroup(held, held.replicas, null, now);
  }

  private boolean reached(Worker a, Worker b, Now now) {
    return reach.between(a, b, now) == Reach.Pair.REACHED;
  }

  private boolean isUnknown(Set<Worker> workers, Now now) {
    for (Worker a : workers) {
      for (Worker b : workers) {
        if (a != b && reach.between(a, b, now) == Reach.Pair.UNKNOWN) {
          return true;
        }
      }
    }
    return false;
  }

  /** An answer to a probe has come. */
  void probed(Now now) {
    for (String jobId : List.copyOf(probing)) {
      @Nullable Running held = state.running.get(jobId);
      if (held == null) {
        probing.remove(jobId);
      } else {
        look(held, now);
      }
    }
  }

  /** A timer for the next time that something may be due, never at once. */
  private void armAhead(Running held, Group group, Now now) {
    long at = Long.MAX_VALUE;
    for (long due :
        new long[] {
          group.handOverByNanos,
          group.suspectNanos,
          group.broken ? group.decideAtNanos : Long.MAX_VALUE,
          group.probing ? now.nanos() + NEWS_NANOS : Long.MAX_VALUE
        }) {
      if (due > now.nanos()) {
        at = Math.min(at, due);
      }
    }
    for (Replica replica : held.replicas) {
      long lost = leases.lostAt(held, replica);
      at = Math.min(at, lost > now.nanos() ? lost : leases.overAt(held, replica));
    }
    leases.arm(held, Math.max(at, now.nanos() + NEWS_NANOS));
  }

  // ---- The next term

  /**
   * Some replicas go on, perhaps with one that joins, in a new term.
   *
   * @return false where that must wait for one of them to be connected again
   */
  private boolean regroup(Running held, List<Replica> stay, @Nullable Worker joiner, Now now) {
    for (Replica replica : stay) {
      @Nullable Worker worker = state.fleet.find(replica.workerId());
      if (worker == null || !worker.connected) {
        return false;
      }
    }
    Job job = held.job;
    List<Lease.Member> members = new ArrayList<>();
    stay.forEach(replica -> members.add(replica.member));
    if (joiner != null) {
      members.add(new Lease.Member(joiner.id, joiner.name));
    }
    Lease lease = new Lease(job.term() + 1, Ids.lease(random), members);
    Job next = JobTransitions.next(job, new JobEvent.Regrouped(lease), now);
    state.write(next, job.fence());
    state.jobs.updateAttempt(
        held.attempt.ended(now.epochMs(), REGROUPED, AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED));
    Attempt attempt = Attempt.granted(job.id(), lease, now.epochMs());
    state.jobs.insertAttempt(attempt);
    Running taken = new Running(next, attempt, leases.deadline(now), now);
    carryOver(held, stay, taken, now);
    String what = what(held, stay, joiner, lease);

    for (Replica replica : held.replicas) {
      if (!stay.contains(replica) && !replica.gaveUp) {
        state.order(held, replica, OrderKind.ORDER_KIND_CANCEL, "the others go on without it");
      }
    }
    leases.forget(held);
    probing.remove(job.id());
    if (joiner != null) {
      // It is offered what it has prepared.
      joiner.told.remove(job.id());
    }
    standbys.unprepare(job.id());
    lead(taken);
    state.outbox.notify(next, "regrouped", what, now);
    return true;
  }

  private static void carryOver(Running from, List<Replica> stay, Running to, Now now) {
    Group old = Objects.requireNonNull(from.group);
    Group group = Objects.requireNonNull(to.group);
    to.progress = from.progress;
    to.notStored = from.notStored;
    group.fruitless = old.fruitless;
    group.avoidUntil.putAll(old.avoidUntil);
    group.avoidUntil.values().removeIf(until -> until <= now.nanos());
    group.losses.putAll(old.losses);
    for (Replica replica : from.replicas) {
      if (!stay.contains(replica)) {
        avoid(group, replica, now);
      }
    }
    group.follows = true;
    group.formByNanos = now.nanos() + FORM_NANOS;
    for (Replica replica : to.replicas) {
      replica.stateless =
          replica.rank >= stay.size()
              || (stay.get(replica.rank).stateless && !from.attempt.begun());
    }
    for (int rank = 0; rank < stay.size(); rank++) {
      to.replicas.get(rank).continues =
          Outbox.ref(from.job.id(), from.lease(), stay.get(rank).rank);
    }
  }

  /** Puts a lease that was just granted in its place, and tells its workers. */
  void lead(Running taken) {
    state.running.put(taken.job.id(), taken);
    if (taken.group != null) {
      state.gangs.add(taken.job.id());
    }
    for (Worker worker : workers(taken)) {
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

  /** What happened, for those who watch the job. */
  private String what(Running held, List<Replica> stay, @Nullable Worker joiner, Lease lease) {
    StringBuilder text = new StringBuilder("replicas: ").append(lease.members().size());
    text.append(" of ").append(held.needs.maxReplicas()).append(" on ").append(lease.on());
    if (joiner != null) {
      text.append("; ").append(joiner.name).append(" joins");
    }
    for (Replica replica : held.replicas) {
      if (!stay.contains(replica)) {
        text.append("; lost ").append(replica.workerName()).append(": ").append(why(held, replica));
      }
    }
    if (joiner == null && stay.size() == held.replicas.size()) {
      text.append("; the group broke: ").append(Objects.requireNonNull(held.group).brokenMessage);
    }
    return text.toString();
  }

  private String why(Running held, Replica replica) {
    if (replica.gaveUp) {
      return "its worker gave it up";
    }
    if (replica.brokenAtNanos != Long.MAX_VALUE) {
      return "its stream broke";
    }
    @Nullable Worker worker = state.fleet.find(replica.workerId());
    if (worker == null || !worker.connected) {
      return "it is silent";
    }
    if (worker.draining) {
      return "its worker leaves";
    }
    return Objects.requireNonNull(held.group).broken ? "it is not reached" : "it is silent";
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

  // ---- Growth

  /** Has workers with room to spare make themselves ready to join gangs that may grow. */
  void growAll(@Nullable Reservation aside, Now now) {
    for (String jobId : List.copyOf(state.gangs)) {
      @Nullable Running held = state.running.get(jobId);
      if (held != null) {
        grow(held, aside, now);
      }
    }
  }

  private void grow(Running held, @Nullable Reservation aside, Now now) {
    Group group = Objects.requireNonNull(held.group);
    if (!mayGrow(held, group)) {
      return;
    }
    @Nullable Worker told = standbys.standby(held.job.id());
    if (told != null && now.nanos() < group.joinByNanos) {
      return;
    }
    if (told != null) {
      group.avoidUntil.put(told.id, now.nanos() + JOIN_NANOS);
      standbys.unprepare(held.job.id());
    }
    Set<Worker> members = new LinkedHashSet<>(workers(held));
    Worker best = null;
    Set<Worker> untried = new HashSet<>();
    for (Worker worker : state.fleet.free(now)) {
      if (!mayJoin(held, worker, aside, now)) {
        continue;
      }
      switch (reaches(members, worker, now)) {
        case REACHED -> {
          if (best == null || (members.contains(worker) && !members.contains(best))) {
            best = worker;
          }
        }
        case UNKNOWN -> untried.add(worker);
        case NOT_REACHED -> {}
      }
    }
    if (best != null) {
      group.joinByNanos = now.nanos() + JOIN_NANOS;
      standbys.prepareToJoin(held.job, best);
    } else if (!untried.isEmpty()) {
      Set<Worker> all = new LinkedHashSet<>(members);
      all.add(untried.iterator().next());
      reach.ask(all, now);
    }
  }

  /** Rank 0 may be about to finish: a new term would take that from it. */
  private static boolean isThrough(Running held) {
    long total = held.progress.getTotalSteps();
    return total > 0 && held.progress.getStep() >= total;
  }

  private static boolean mayGrow(Running held, Group group) {
    return held.job.state() == JobState.RUNNING
        && held.attempt.begun()
        && !held.available
        && !group.broken
        && group.handOverByNanos == Long.MAX_VALUE
        && !isThrough(held)
        && held.replicas.size() < held.needs.maxReplicas();
  }

  private boolean mayJoin(Running held, Worker worker, @Nullable Reservation aside, Now now) {
    Group group = Objects.requireNonNull(held.group);
    Worker first = workers(held).get(0);
    return worker.takesReplicas
        && worker.room(held.needs, aside) > 0
        && group.avoidUntil.getOrDefault(worker.id, Long.MIN_VALUE) <= now.nanos()
        && Requirements.mayBeSame(
            held.needs.kindOn(worker.machine), held.needs.kindOn(first.machine));
  }

  private Reach.Pair reaches(Set<Worker> members, Worker worker, Now now) {
    if (!members.stream().allMatch(member -> member.takesReplicas && member.connected)) {
      return Reach.Pair.NOT_REACHED;
    }
    Set<Worker> all = new LinkedHashSet<>(members);
    all.add(worker);
    if (Sites.shareMachine(all)) {
      return Reach.Pair.REACHED;
    }
    Reach.Pair result = Reach.Pair.REACHED;
    for (Worker a : all) {
      for (Worker b : all) {
        if (a != b) {
          switch (reach.between(a, b, now)) {
            case NOT_REACHED -> {
              return Reach.Pair.NOT_REACHED;
            }
            case UNKNOWN -> result = Reach.Pair.UNKNOWN;
            case REACHED -> {}
          }
        }
      }
    }
    return result;
  }

  /** A worker says that it is ready for a job that it was told to join. */
  void joinerReady(String jobId, Worker worker, @Nullable Reservation aside, Now now) {
    @Nullable Running held = state.running.get(jobId);
    Group group = held == null ? null : held.group;
    if (held == null || group == null || !worker.id.equals(state.standbys.get(jobId))) {
      return;
    }
    boolean whole = held.replicas.stream().noneMatch(r -> leaves(r) || isLost(held, r, true, now));
    if (!mayGrow(held, group) || !whole) {
      return;
    }
    if (mayJoin(held, worker, aside, now)
        && reaches(new LinkedHashSet<>(workers(held)), worker, now) == Reach.Pair.REACHED) {
      regroup(held, held.replicas, worker, now);
    } else {
      standbys.unprepare(jobId);
    }
  }
}
