package dev.baton.coordinator.core;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The workers, and which of them has room for what. */
final class Fleet {
  private final long silenceNanos;
  private final Map<String, Worker> workers = new LinkedHashMap<>();

  /** Those with a free slot; the one that waits longest comes first. */
  private final Set<Worker> free = new LinkedHashSet<>();

  private boolean roomier;

  /**
   * @param silenceNanos after which a worker that says nothing is offered nothing
   */
  Fleet(long silenceNanos) {
    this.silenceNanos = silenceNanos;
  }

  @Nullable Worker find(String id) {
    return workers.get(id);
  }

  /** The worker of this id; one that is not connected where it is new. */
  Worker get(String id, String name) {
    return workers.computeIfAbsent(id, i -> new Worker(i, name));
  }

  Collection<Worker> all() {
    return workers.values();
  }

  /** Those with a free slot that are heard of. */
  List<Worker> free(Now now) {
    return heardOf(free, now);
  }

  /** All that are heard of. */
  List<Worker> heardOf(Now now) {
    return heardOf(workers.values(), now);
  }

  private List<Worker> heardOf(Collection<Worker> of, Now now) {
    List<Worker> heard = new ArrayList<>();
    List<Worker> fellSilent = new ArrayList<>();
    for (Worker worker : of) {
      (silent(worker, now) ? fellSilent : heard).add(worker);
    }
    for (Worker worker : fellSilent) {
      worker.fellSilent();
      free.remove(worker);
    }
    return heard;
  }

  boolean hasRoom() {
    return !free.isEmpty();
  }

  /** Some room may be used now that was kept. */
  void roomier() {
    roomier = true;
  }

  /** Whether some worker may have gained room since the last call. */
  boolean takeRoomier() {
    boolean was = roomier;
    roomier = false;
    return was;
  }

  /** To be called after whatever changes a worker's room. */
  void update(Worker worker) {
    if (worker.hasFreeSlot()) {
      free.add(worker);
      roomier = true;
    } else {
      free.remove(worker);
    }
  }

  /** Forgets a worker that is gone and holds nothing. */
  void forgetIfGone(Worker worker) {
    if (!worker.connected && worker.holdsNothing()) {
      free.remove(worker);
      workers.remove(worker.id);
    }
  }

  /**
   * The best of the workers with room for the job: first the one that stands by, then one of the
   * kind that the job had, then any but the one to avoid, then that. Room that is set aside for
   * another job does not count.
   */
  Optional<Worker> choose(
      Waiting job,
      @Nullable Worker standby,
      @Nullable Worker holder,
      @Nullable Reservation aside,
      Now now) {
    if (standby != null
        && standby != holder
        && !silent(standby, now)
        && standby.room(job.needs(), aside) > 0) {
      return Optional.of(standby);
    }
    Worker best = null;
    int bestRank = -1;
    List<Worker> fellSilent = new ArrayList<>();
    for (Worker worker : free) {
      if (worker == holder || worker.room(job.needs(), aside) == 0) {
        continue;
      }
      if (silent(worker, now)) {
        fellSilent.add(worker);
        continue;
      }
      int rank = rank(job, worker);
      if (rank > bestRank) {
        best = worker;
        bestRank = rank;
        if (rank == 3) {
          break;
        }
      }
    }
    for (Worker worker : fellSilent) {
      worker.fellSilent();
      free.remove(worker);
    }
    return Optional.ofNullable(best);
  }

  private static int rank(Waiting job, Worker worker) {
    boolean sameKind =
        job.preferKind().isEmpty()
            || Requirements.mayBeSame(job.preferKind(), job.needs().kindOn(worker.machine));
    boolean avoided = worker.id.equals(job.avoidWorkerId());
    return (avoided ? 0 : 2) + (sameKind ? 1 : 0);
  }

  /** Whether nothing was heard of a worker for too long to offer it anything. */
  boolean silent(Worker worker, Now now) {
    return now.nanos() - worker.lastHeardNanos > silenceNanos;
  }
}
