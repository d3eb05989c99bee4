package dev.baton.coordinator.core;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiPredicate;

/**
 * Where a gang could run: on one worker; on workers that share a machine; on workers whose machines
 * reach each other, each the other. All of one gang are of one kind, as far as the core sees kinds.
 */
final class Sites {
  /** Sets of workers are begun from this many of them: a fleet may be large. */
  private static final int STARTS = 32;

  /**
   * A worker that might take part.
   *
   * @param room for so many replicas
   * @param free of them now
   */
  record Candidate(Worker worker, int room, int free) {}

  private record Site(List<Worker> ranks, int free) {
    static final Site NONE = new Site(List.of(), 0);

    boolean betterThan(Site other) {
      return ranks.size() != other.ranks.size()
          ? ranks.size() > other.ranks.size()
          : free > other.free;
    }
  }

  private Sites() {}

  /**
   * The best place for a gang: the largest one, of equal ones that with more of it free now, of
   * those the one on the fewest machines. The kind that the job had is preferred where it is enough
   * for the least number of replicas, and the worker to avoid is left out where that is.
   *
   * @param most replicas at most
   * @param reach whether two workers reach each other
   * @return a worker for each replica, by rank; fewer than the job needs where there is no room
   */
  static List<Worker> best(
      Waiting job, int most, List<Candidate> candidates, BiPredicate<Worker, Worker> reach) {
    int least = job.needs().minReplicas();
    Map<String, List<Candidate>> kinds = new LinkedHashMap<>();
    for (Candidate candidate : candidates) {
      if (candidate.room() > 0) {
        kinds
            .computeIfAbsent(job.needs().kindOn(candidate.worker().machine), k -> new ArrayList<>())
            .add(candidate);
      }
    }
    Site best = Site.NONE;
    for (Set<String> avoid : List.of(Set.of(job.avoidWorkerId()), Set.<String>of())) {
      List<Candidate> same = without(kinds.getOrDefault(job.preferKind(), List.of()), avoid);
      best = site(most, same, reach);
      if (best.ranks().size() >= least) {
        return best.ranks();
      }
      for (List<Candidate> kind : kinds.values()) {
        Site site = site(most, without(kind, avoid), reach);
        if (site.betterThan(best)) {
          best = site;
        }
      }
      if (best.ranks().size() >= least || job.avoidWorkerId().isEmpty()) {
        return best.ranks();
      }
    }
    return best.ranks();
  }

  private static List<Candidate> without(List<Candidate> candidates, Set<String> avoid) {
    return candidates.stream().filter(c -> !avoid.contains(c.worker().id)).toList();
  }

  private static Site site(
      int most, List<Candidate> candidates, BiPredicate<Worker, Worker> reach) {
    Site best = Site.NONE;
    Map<String, List<Candidate>> machines = new LinkedHashMap<>();
    List<Candidate> able = new ArrayList<>();
    for (Candidate candidate : candidates) {
      Worker worker = candidate.worker();
      Site alone = fill(worker.takesReplicas ? most : 1, List.of(candidate));
      if (alone.betterThan(best)) {
        best = alone;
      }
      if (worker.takesReplicas) {
        able.add(candidate);
        if (!worker.hostId.isEmpty()) {
          machines.computeIfAbsent(worker.hostId, h -> new ArrayList<>()).add(candidate);
        }
      }
    }
    for (List<Candidate> machine : machines.values()) {
      Site shared = fill(most, sorted(machine));
      if (shared.betterThan(best)) {
        best = shared;
      }
    }
    List<Candidate> reachable =
        sorted(able.stream().filter(c -> !c.worker().advertiseHost.isEmpty()).toList());
    for (Candidate start : reachable.subList(0, Math.min(STARTS, reachable.size()))) {
      Site spread = fill(most, together(start, reachable, most, reach));
      if (spread.betterThan(best)) {
        best = spread;
      }
    }
    return best;
  }

  private static List<Candidate> sorted(Collection<Candidate> candidates) {
    return candidates.stream()
        .sorted(
            Comparator.comparingInt(Candidate::free)
                .reversed()
                .thenComparing(Comparator.comparingInt(Candidate::room).reversed()))
        .toList();
  }

  /** Adds to one worker all that reach each that is there already, until there is room enough. */
  private static List<Candidate> together(
      Candidate start, List<Candidate> others, int enough, BiPredicate<Worker, Worker> reach) {
    List<Candidate> set = new ArrayList<>(List.of(start));
    int room = start.room();
    for (Candidate other : others) {
      if (room >= enough) {
        break;
      }
      if (!other.equals(start)
          && set.stream().allMatch(c -> reach.test(c.worker(), other.worker()))) {
        set.add(other);
        room += other.room();
      }
    }
    return set;
  }

  private static Site fill(int most, List<Candidate> candidates) {
    List<Worker> ranks = new ArrayList<>();
    int free = 0;
    for (Candidate candidate : candidates) {
      int taken = Math.min(candidate.room(), most - ranks.size());
      for (int i = 0; i < taken; i++) {
        ranks.add(candidate.worker());
      }
      free += Math.min(taken, candidate.free());
    }
    return new Site(List.copyOf(ranks), free);
  }

  /** Whether all of these share one loopback interface. */
  static boolean shareMachine(Collection<Worker> workers) {
    Worker first = null;
    for (Worker worker : workers) {
      if (first == null) {
        first = worker;
      } else if (worker != first
          && (worker.hostId.isEmpty() || !worker.hostId.equals(first.hostId))) {
        return false;
      }
    }
    return true;
  }

  /**
   * The largest part of a gang whose workers reach each other; of equal ones that with the first of
   * them.
   *
   * @param ranks a worker for each replica
   */
  static Set<Worker> reachingEachOther(List<Worker> ranks, BiPredicate<Worker, Worker> reach) {
    Map<Worker, Integer> replicas = new LinkedHashMap<>();
    ranks.forEach(worker -> replicas.merge(worker, 1, Integer::sum));
    List<Candidate> all =
        replicas.entrySet().stream()
            .map(e -> new Candidate(e.getKey(), e.getValue(), e.getValue()))
            .toList();
    Set<Worker> best = Set.of();
    int most = 0;
    for (Candidate start : all) {
      List<Candidate> set = together(start, all, Integer.MAX_VALUE, reach);
      int size = set.stream().mapToInt(Candidate::room).sum();
      if (size > most) {
        most = size;
        best = Set.copyOf(set.stream().map(Candidate::worker).toList());
      }
    }
    return best;
  }
}
