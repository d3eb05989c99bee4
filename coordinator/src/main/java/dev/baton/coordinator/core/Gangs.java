package dev.baton.coordinator.core;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.GroupBroken;
import dev.baton.v1.GroupWaiting;
import dev.baton.v1.OrderKind;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Which replicas of a running job go on together. Each change is a new term, so that whoever is
 * left out can store nothing any more; those who stay keep their state in memory. Never fewer than
 * the job's least number: then the lease ends, and the job waits for a whole gang again.
 */
final class Gangs {
  private static final long MILLI = 1_000_000;
  private static final long SECOND = 1_000 * MILLI;

  /** For those who go on to be ready for the next group. */
  static final long FORM_NANOS = 60 * SECOND;

  /** Groups that break without a step and with nobody missing, in a row, end the lease. */
  static final int FRUITLESS_LIMIT = 5;

  /** How an attempt ends whose replicas go on in the next, and the event that tells of it. */
  static final String REGROUPED = "regrouped";

  private static final long AVOID_NANOS = 5 * SECOND;
  private static final int AVOID_DOUBLINGS = 4;
  private static final long HAND_OVER_NANOS = 60 * SECOND;

  private final CoreState state;
  private final Leases leases;
  private final Standbys standbys;
  private final GangForming forming;
  private final GangProbes probes;

  Gangs(CoreState state, Leases leases, Standbys standbys, GangForming forming, GangProbes probes) {
    this.state = state;
    this.leases = leases;
    this.standbys = standbys;
    this.forming = forming;
    this.probes = probes;
  }

  // ---- What is heard of a gang

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
    if (held.attempt.begun()) {
      GangProbes.stepped(group, now);
      if (held.job.state() == JobState.PAUSING) {
        handsOver(held, now);
      }
    }
  }

  /** As {@link Scheduler#groupWaiting}. */
  void groupWaiting(Running held, GroupWaiting message, Now now) {
    if (held.group != null && !held.group.broken) {
      forming.waits(held, held.group, message);
      look(held, now);
    }
  }

  /** As {@link Scheduler#groupBroken}. */
  void groupBroken(Running held, GroupBroken message, Now now) {
    if (held.group != null) {
      held.replicas.get(message.getLease().getRank()).broke = true;
      held.group.breaks(message.getMessage(), now);
      look(held, now);
    }
  }

  /** Rank 0 has begun: the group stands. */
  void begun(Running held, Now now) {
    Group group = held.group;
    if (group == null) {
      return;
    }
    state.growthDue = true;
    GangProbes.stepped(group, now);
    if (held.job.state() == JobState.PAUSING && group.follows) {
      // The order went to the term before.
      handsOver(held, now);
      state.order(held, held.first(), OrderKind.ORDER_KIND_HAND_OVER, "paused");
    }
    look(held, now);
  }

  /** Rank 0 has made a step, or said what it does instead. */
  void stepped(Running held, Now now) {
    if (held.group != null) {
      GangProbes.stepped(held.group, now);
    }
  }

  /** An answer to a probe has come. */
  void probed(Now now) {
    probes.awaiting().forEach(held -> look(held, now));
  }

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
    if (isEnough(held, held.replicas.stream().filter(r -> !isLost(held, r, now)).toList())) {
      look(held, now);
      return true;
    }
    return false;
  }

  /** A worker that was silent is heard of again, and lists no replica of a lease that has ended. */
  void backWithout(Running held, Now now) {
    end(held, held.endReason(), now);
  }

  // ---- Who is lost, who leaves

  /** Looks whether the replicas of a running job can go on together as they are. */
  void look(Running held, Now now) {
    Group group = held.group;
    if (group == null || held.available || state.running.get(held.job.id()) != held) {
      return;
    }
    probes.suspect(held, group, now);
    boolean cause =
        group.broken
            || held.replicas.stream()
                .anyMatch(r -> leaves(r) || leases.lostAt(held, r) <= now.nanos());
    if (!cause || !settle(held, group, now)) {
      armAhead(held, group, now);
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
          group.probing ? now.nanos() + Group.NEWS_NANOS : Long.MAX_VALUE
        }) {
      if (due > now.nanos()) {
        at = Math.min(at, due);
      }
    }
    for (Replica replica : held.replicas) {
      long lost = leases.lostAt(held, replica);
      at = Math.min(at, lost > now.nanos() ? lost : leases.overAt(held, replica));
    }
    leases.arm(held, Math.max(at, now.nanos() + Group.NEWS_NANOS));
  }

  /**
   * Whether the others are to go on without a replica, where they form a new group in any case: a
   * broken stream gets no grace then.
   */
  private boolean isLost(Running held, Replica replica, Now now) {
    return leases.lostAt(held, replica) <= now.nanos()
        || (replica.brokenAtNanos != Long.MAX_VALUE && held.quietUntilNanos <= now.nanos());
  }

  private boolean leaves(Replica replica) {
    @Nullable Worker worker = state.fleet.find(replica.workerId());
    return worker != null && worker.connected && worker.draining;
  }

  /** Whether all of its replicas are there, and none is about to leave. */
  boolean isWhole(Running held, Now now) {
    return held.replicas.stream().noneMatch(r -> leaves(r) || isLost(held, r, now));
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
      if (isLost(held, replica, now)) {
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

  private boolean isHeardOf(Replica replica, Now now) {
    @Nullable Worker worker = state.fleet.find(replica.workerId());
    return worker != null && worker.connected && !state.fleet.silent(worker, now);
  }

  /** The group broke, and nobody is known to be missing. */
  private boolean decide(Running held, Group group, Now now) {
    List<Worker> ranks = state.workers(held);
    if (now.nanos() < group.decideAtNanos || !ranks.stream().allMatch(w -> w.connected)) {
      return false;
    }
    if (!Sites.shareMachine(ranks)) {
      @Nullable Set<Worker> part = probes.reachingEachOther(held, group, now);
      if (part == null) {
        return false;
      }
      group.probed = true;
      if (!part.containsAll(ranks)) {
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

  /** Ends the lease of a gang of which too few remain. */
  private void end(Running held, String reason, Now now) {
    JobEvent event =
        held.job.state() == JobState.PAUSING
            ? new JobEvent.Released(Leases.PAUSED_SILENT)
            : new JobEvent.Lost(reason);
    Job next = JobTransitions.next(held.job, event, now);
    leases.endLease(held, next, reason, now);
  }

  // ---- Handing over

  /** Rank 0 was told to hand over; those who leave meanwhile do not end the lease. */
  void handsOver(Running held, Now now) {
    if (held.group != null && held.group.handOverByNanos == Long.MAX_VALUE) {
      held.group.handOverByNanos = now.nanos() + HAND_OVER_NANOS;
    }
  }

  private void handOver(Running held, Group group, Now now) {
    if (!held.attempt.begun() || group.handOverByNanos != Long.MAX_VALUE) {
      return;
    }
    handsOver(held, now);
    state.order(held, held.first(), OrderKind.ORDER_KIND_HAND_OVER, "one of its workers leaves");
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
        && !isLost(held, held.first(), now);
  }

  // ---- The next term

  /** A worker joins those that run. */
  void grow(Running held, Worker joiner, Now now) {
    regroup(held, held.replicas, joiner, now);
  }

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
    Lease lease = leases.next(job, members);
    Job next = JobTransitions.next(job, new JobEvent.Regrouped(lease), now);
    state.jobs.updateAttempt(
        held.attempt.ended(now.epochMs(), REGROUPED, AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED));
    Running taken = leases.found(next, job.fence(), now);
    carryOver(held, stay, taken, now);
    String what = what(held, stay, joiner, lease);

    for (Replica replica : held.replicas) {
      if (!stay.contains(replica) && !replica.gaveUp) {
        state.order(held, replica, OrderKind.ORDER_KIND_CANCEL, "the others go on without it");
      }
    }
    leases.forget(held);
    if (joiner != null) {
      // It is offered what it has prepared.
      joiner.told.remove(job.id());
    }
    standbys.unprepare(job.id());
    forming.lead(taken);
    state.outbox.notify(next, REGROUPED, what, now);
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

  /** A worker that loses one replica is asked for another at once; one that loses many is not. */
  private static void avoid(Group group, Replica replica, Now now) {
    int losses = group.losses.merge(replica.workerId(), 1, Integer::sum);
    if (losses > 1) {
      group.avoidUntil.put(
          replica.workerId(), now.nanos() + (AVOID_NANOS << Math.min(losses - 2, AVOID_DOUBLINGS)));
    }
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
}
