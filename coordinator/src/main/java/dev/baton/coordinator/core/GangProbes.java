package dev.baton.coordinator.core;

import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Finds out by probes whether the machines of a gang still reach each other, where its group broke
 * with nobody missing or makes no step.
 */
final class GangProbes {
  private static final long SECOND = 1_000_000_000L;

  /**
   * Without a step, a group of several machines may have been cut: where packets are dropped, those
   * who wait for them learn nothing for minutes.
   */
  static final long SUSPECT_NANOS = 4 * SECOND;

  /** After the machines were found to reach each other: they are just slow. */
  private static final long UNSUSPECTED_NANOS = 30 * SECOND;

  private final CoreState state;
  private final Reach reach;

  /** Jobs whose gangs wait for answers. */
  private final Set<String> probing = new LinkedHashSet<>();

  GangProbes(CoreState state, Reach reach) {
    this.state = state;
    this.reach = reach;
  }

  /** Rank 0 has made a step, or said what it does instead. */
  static void stepped(Group group, Now now) {
    group.suspectNanos = now.nanos() + SUSPECT_NANOS;
  }

  /** Takes a group for broken that makes no step since its machines do not reach each other. */
  void suspect(Running held, Group group, Now now) {
    if (group.broken || !held.attempt.begun() || now.nanos() < group.suspectNanos) {
      return;
    }
    Set<Worker> workers = new LinkedHashSet<>(state.workers(held));
    if (Sites.shareMachine(workers) || !workers.stream().allMatch(w -> w.connected)) {
      group.suspectNanos = now.nanos() + UNSUSPECTED_NANOS;
      return;
    }
    @Nullable Set<Worker> part = reachingEachOther(held, group, now);
    if (part == null) {
      return;
    }
    if (part.size() == workers.size()) {
      group.suspectNanos = now.nanos() + UNSUSPECTED_NANOS;
      return;
    }
    group.breaks("no step, and its machines do not reach each other", now);
    group.decideAtNanos = now.nanos();
    group.probed = true;
  }

  /**
   * The largest part of a gang whose workers are there and reach each other. They try it anew;
   * where the group is broken, once.
   *
   * @return null while answers are awaited
   */
  @Nullable Set<Worker> reachingEachOther(Running held, Group group, Now now) {
    List<Worker> ranks = state.workers(held);
    if (!group.probed && isAwaiting(held, group, new LinkedHashSet<>(ranks), now)) {
      return null;
    }
    // Of equal parts the one goes on that is there: it may be the other that was cut off from
    // everybody.
    Predicate<Worker> there = worker -> worker.heardSince(group.probingSinceNanos);
    List<Worker> thereFirst =
        Stream.concat(ranks.stream().filter(there), ranks.stream().filter(there.negate())).toList();
    Set<Worker> part =
        Sites.reachingEachOther(
            thereFirst, (a, b) -> reach.between(a, b, now) == Reach.Pair.REACHED);
    if (!group.probed && !part.stream().allMatch(there)) {
      // They may have nothing to say to the question; a heartbeat, or its lack, will tell.
      return null;
    }
    group.probing = false;
    probing.remove(held.job.id());
    return part;
  }

  private boolean isAwaiting(Running held, Group group, Set<Worker> workers, Now now) {
    if (!group.probing) {
      group.probing = true;
      group.probingSinceNanos = now.nanos();
      probing.add(held.job.id());
      reach.forget(workers);
    }
    reach.expire(now);
    if (isUnknown(workers, now)) {
      reach.ask(workers, now);
      return true;
    }
    return false;
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

  /** Those of running jobs that wait for answers. A snapshot. */
  List<Running> awaiting() {
    probing.retainAll(state.running.keySet());
    return List.copyOf(probing).stream()
        .map(id -> Objects.requireNonNull(state.running.get(id)))
        .toList();
  }
}
