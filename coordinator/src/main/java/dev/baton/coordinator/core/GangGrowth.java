package dev.baton.coordinator.core;

import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Running gangs that take in more replicas: a worker with room to spare is told to make itself
 * ready, and joins in the next term once it is.
 */
final class GangGrowth {
  private static final long JOIN_NANOS = 600_000_000_000L;

  private final CoreState state;
  private final Standbys standbys;
  private final Reach reach;
  private final Gangs gangs;

  GangGrowth(CoreState state, Standbys standbys, Reach reach, Gangs gangs) {
    this.state = state;
    this.standbys = standbys;
    this.reach = reach;
    this.gangs = gangs;
  }

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
    Set<Worker> members = new LinkedHashSet<>(state.workers(held));
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
    Worker first = state.workers(held).get(0);
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
    if (!mayGrow(held, group) || !gangs.isWhole(held, now)) {
      return;
    }
    if (mayJoin(held, worker, aside, now)
        && reaches(new LinkedHashSet<>(state.workers(held)), worker, now) == Reach.Pair.REACHED) {
      gangs.grow(held, worker, now);
    } else {
      standbys.unprepare(jobId);
    }
  }
}
