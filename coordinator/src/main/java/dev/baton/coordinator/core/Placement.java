package dev.baton.coordinator.core;

import dev.baton.coordinator.core.Reach.Pair;
import dev.baton.v1.AttemptOutcome;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.PriorityQueue;
import java.util.function.BiPredicate;
import org.jspecify.annotations.Nullable;

/** Which waiting job goes to which worker, and the grant of its lease. */
final class Placement {
  private static final long RELOAD_PAUSE_NANOS = 1_000_000_000L;
  private static final long GROW_NANOS = 10_000_000_000L;

  private final CoreState state;
  private final Leases leases;
  private final Standbys standbys;
  private final GangForming forming;
  private final GangGrowth growth;
  private final Reach reach;
  private long placeNotBeforeNanos = Long.MIN_VALUE;
  private long growAtNanos = Long.MIN_VALUE;
  private @Nullable Reservation reservation;

  /** Waiting gangs that probes were asked for, and until when they wait for the answers. */
  private final Map<String, Long> probing = new HashMap<>();

  Placement(
      CoreState state,
      Leases leases,
      Standbys standbys,
      GangForming forming,
      GangGrowth growth,
      Reach reach) {
    this.state = state;
    this.leases = leases;
    this.standbys = standbys;
    this.forming = forming;
    this.growth = growth;
    this.reach = reach;
  }

  /** Grants nothing for a second, so that a full disk does not turn into a storm of reloads. */
  void pause(Now now) {
    placeNotBeforeNanos = now.nanos() + RELOAD_PAUSE_NANOS;
  }

  /** Grants what can be granted. Costs nothing where nothing became free and nothing new waits. */
  void place(Now now) {
    if (now.nanos() < placeNotBeforeNanos) {
      return;
    }
    boolean roomier = state.fleet.takeRoomier();
    List<WaitingQueue.Lane> lanes;
    if (roomier || isReservationOver()) {
      reservation = null;
      state.waiting.takeFresh();
      lanes = state.waiting.lanes();
    } else {
      lanes = state.waiting.takeFresh();
    }
    PriorityQueue<WaitingQueue.Lane> untried =
        new PriorityQueue<>((a, b) -> Long.compare(a.first().seq(), b.first().seq()));
    untried.addAll(lanes);
    while (state.fleet.hasRoom() && !untried.isEmpty()) {
      WaitingQueue.Lane lane = untried.poll();
      Waiting first = lane.first();
      @Nullable Running held = state.running.get(first.jobId());
      List<Worker> ranks =
          first.needs().gang()
              ? chooseGang(first, now)
              : state
                  .fleet
                  .choose(
                      first,
                      standbys.standby(first.jobId()),
                      held == null ? null : state.fleet.find(held.first().workerId()),
                      asideFor(first),
                      now)
                  .map(List::of)
                  .orElse(List.of());
      if (!ranks.isEmpty()) {
        grant(first, held, ranks, now);
        if (!lane.isEmpty()) {
          untried.add(lane);
        }
      }
    }
    if (!state.gangs.isEmpty() && (roomier || state.growthDue || now.nanos() >= growAtNanos)) {
      state.growthDue = false;
      growAtNanos = now.nanos() + GROW_NANOS;
      growth.growAll(reservation, now);
    }
  }

  // ---- Gangs

  /** A worker says that it is ready for a job that it was told to join. */
  void joinerReady(String jobId, Worker worker, Now now) {
    growth.joinerReady(jobId, worker, reservation, now);
  }

  /** Room that a job must leave alone: what is kept for one before it in the queue. */
  private @Nullable Reservation asideFor(Waiting job) {
    Reservation kept = reservation;
    return kept != null && kept.seq() < job.seq() ? kept : null;
  }

  /** Whether the gang has gone from the queue, or one of the workers is no good for it any more. */
  private boolean isReservationOver() {
    Reservation kept = reservation;
    if (kept == null) {
      return false;
    }
    if (state.waiting.find(kept.jobId()) == null) {
      return true;
    }
    for (String id : kept.replicas().keySet()) {
      @Nullable Worker worker = state.fleet.find(id);
      if (worker == null || !worker.mayTakeJobs()) {
        return true;
      }
    }
    return false;
  }

  /**
   * A worker for each replica of a gang, by rank; none where it has to wait: for room, which is
   * kept for it then, or for probes that could give it more.
   */
  private List<Worker> chooseGang(Waiting job, Now now) {
    reach.expire(now);
    List<Sites.Candidate> candidates = new ArrayList<>();
    for (Worker worker : state.fleet.free(now)) {
      int room = worker.room(job.needs(), asideFor(job));
      candidates.add(new Sites.Candidate(worker, room, room));
    }
    int least = job.needs().minReplicas();
    int most = job.needs().maxReplicas();
    List<Worker> sure =
        Sites.best(job, most, candidates, (a, b) -> reach.between(a, b, now) == Pair.REACHED);
    List<Worker> hoped =
        Sites.best(job, most, candidates, (a, b) -> reach.between(a, b, now) != Pair.NOT_REACHED);
    if (hoped.size() > sure.size() && hoped.size() >= least) {
      long until = probing.getOrDefault(job.jobId(), Long.MIN_VALUE);
      if (now.nanos() < until || sure.size() < least || until == Long.MIN_VALUE) {
        if (now.nanos() >= until) {
          until = now.nanos() + Reach.ANSWER_NANOS;
          probing.put(job.jobId(), until);
          state.timers.set(until, job.jobId());
        }
        reach.ask(new LinkedHashSet<>(hoped), now);
        reserve(job, hoped);
        return List.of();
      }
    }
    probing.remove(job.jobId());
    if (sure.size() >= least) {
      return sure;
    }
    reserve(job, roomOnceIdle(job, now));
    return List.of();
  }

  /** Where the least number of replicas would have room if this fleet were idle. */
  private List<Worker> roomOnceIdle(Waiting job, Now now) {
    int least = job.needs().minReplicas();
    List<Sites.Candidate> candidates = new ArrayList<>();
    for (Worker worker : state.fleet.heardOf(now)) {
      candidates.add(
          new Sites.Candidate(
              worker, worker.idleRoom(job.needs()), worker.room(job.needs(), null)));
    }
    List<Worker> sure =
        Sites.best(job, least, candidates, (a, b) -> reach.between(a, b, now) == Pair.REACHED);
    if (sure.size() < least) {
      List<Worker> hoped =
          Sites.best(
              job, least, candidates, (a, b) -> reach.between(a, b, now) != Pair.NOT_REACHED);
      if (hoped.size() >= least) {
        probing.putIfAbsent(job.jobId(), now.nanos() + Reach.ANSWER_NANOS);
        reach.ask(new LinkedHashSet<>(hoped), now);
      }
    }
    return sure;
  }

  private void reserve(Waiting job, List<Worker> ranks) {
    Reservation kept = reservation;
    boolean mine = kept != null && kept.jobId().equals(job.jobId());
    if (ranks.size() >= job.needs().minReplicas()) {
      if (kept == null || mine || job.seq() < kept.seq()) {
        reservation = Reservation.of(job, ranks);
      }
    } else if (mine) {
      reservation = null;
      state.fleet.roomier();
    }
  }

  /** What a waiting gang lacks, in words, where some worker fits one of its replicas. */
  String whyNoGang(Waiting job, Now now) {
    int least = job.needs().minReplicas();
    BiPredicate<Worker, Worker> reached = (a, b) -> reach.between(a, b, now) == Pair.REACHED;
    List<Sites.Candidate> nowFree = new ArrayList<>();
    List<Sites.Candidate> idle = new ArrayList<>();
    for (Worker worker : state.fleet.all()) {
      if (worker.mayTakeJobs()) {
        int room = worker.room(job.needs(), asideFor(job));
        nowFree.add(new Sites.Candidate(worker, room, room));
        int once = worker.idleRoom(job.needs());
        idle.add(new Sites.Candidate(worker, once, once));
      }
    }
    int fit = Sites.best(job, least, nowFree, reached).size();
    String text = "needs " + least + " replicas at once: " + fit + " of " + least + " fit now";
    Reservation kept = reservation;
    if (kept != null && kept.jobId().equals(job.jobId())) {
      return text + "; reserved: " + String.join(", ", names(kept.replicas().keySet()));
    }
    int could = Sites.best(job, least, idle, reached).size();
    if (could >= least) {
      return text + (kept == null ? "" : "; room is kept for job " + kept.jobId());
    }
    return text + "; " + whyNever(idle, could, now);
  }

  /** Why a gang would have no room on an idle fleet, which would hold but a few of its replicas. */
  private String whyNever(List<Sites.Candidate> idle, int could, Now now) {
    List<Worker> able =
        idle.stream().filter(c -> c.room() > 0).map(Sites.Candidate::worker).toList();
    List<String> without =
        able.stream().filter(w -> !w.takesReplicas).map(w -> w.name).distinct().toList();
    if (!without.isEmpty() && without.size() == able.size()) {
      return "the libtorch of " + String.join(", ", without) + " has no collectives";
    }
    for (Worker a : able) {
      for (Worker b : able) {
        if (a != b && a.takesReplicas && b.takesReplicas && !Sites.shareMachine(List.of(a, b))) {
          Pair pair = reach.between(a, b, now);
          if (pair != Pair.REACHED) {
            return "workers "
                + a.name
                + " and "
                + b.name
                + (pair == Pair.UNKNOWN
                    ? " have not tried yet whether they reach each other"
                    : " do not reach each other: "
                        + (a.advertiseHost.isEmpty() || b.advertiseHost.isEmpty()
                            ? "start them with --advertise HOST"
                            : "their --advertise addresses and --ports must be open to each other"));
          }
        }
      }
    }
    return "all workers together have room for " + could + " of one kind";
  }

  private List<String> names(Collection<String> workerIds) {
    return workerIds.stream()
        .map(id -> Optional.ofNullable(state.fleet.find(id)).map(w -> w.name).orElse(id))
        .toList();
  }

  /** As {@link Scheduler#probeResult}. */
  void probed(Now now) {
    for (String jobId : List.copyOf(probing.keySet())) {
      if (state.waiting.find(jobId) == null) {
        probing.remove(jobId);
      } else {
        state.waiting.ring(jobId, now.nanos());
      }
    }
  }

  // ---- The grant

  private void grant(Waiting waits, @Nullable Running held, List<Worker> ranks, Now now) {
    Job job = held != null ? held.job : state.find(waits.jobId());
    Fence fence = job.fence();
    Job free = job;
    if (held != null) {
      String reason = held.endReason();
      free = JobTransitions.next(job, new JobEvent.Lost(reason), now);
      if (free.state().ended()) {
        leases.endLease(held, free, reason, now);
        return;
      }
      state.jobs.updateAttempt(
          held.attempt.ended(now.epochMs(), reason, AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED));
      if (held.group != null) {
        state.stopAll(held, -1, reason);
      }
      leases.forget(held);
      state.outbox.notify(job, "worker_lost", held.lease().on() + ": " + reason, now);
    }
    state.waiting.remove(job.id());
    List<Lease.Member> members =
        ranks.stream().map(worker -> new Lease.Member(worker.id, worker.name)).toList();
    Lease lease = leases.next(job, members);
    Job granted =
        JobTransitions.next(
            free, new JobEvent.Granted(lease, waits.needs().kindOn(ranks.get(0).machine)), now);
    Running taken = leases.found(granted, fence, now);
    if (ranks.stream().anyMatch(worker -> worker.id.equals(state.standbys.get(job.id())))) {
      state.standbys.remove(job.id());
    }
    state.outbox.notify(granted, "state", "leased to " + lease.on(), now);
    forming.lead(taken);
  }
}
