package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.aborted;
import static dev.baton.coordinator.core.CoordinatorException.invalid;
import static dev.baton.coordinator.core.CoordinatorException.notFound;

import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.OrderKind;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What the core knows, for all of its parts: the stores, and in memory what is cached of them, who
 * is connected, and what is to be told. The parts run on one thread.
 */
final class CoreState {
  final Stores stores;
  final LeasePolicy policy;
  final JobStore jobs;
  final Outbox outbox = new Outbox();
  final Fleet fleet;
  final WaitingQueue waiting = new WaitingQueue();
  final Timers timers = new Timers();

  /** Jobs under a lease, by id. */
  final Map<String, Running> running = new LinkedHashMap<>();

  /** Those of them that may have more than one replica, by id. */
  final Set<String> gangs = new LinkedHashSet<>();

  /** The largest {@link Submission#seq} there is. */
  long lastSeq;

  /** Something may let one of them grow. */
  boolean growthDue;

  /** Leases that the transaction under way has ended: none has, should it fail. */
  final List<Running> departed = new ArrayList<>();

  /** Which worker was told to stand by for a job. */
  final Map<String, String> standbys = new HashMap<>();

  /** Failures of workers, in a row, over a job. */
  final Map<String, Integer> workerFailures = new HashMap<>();

  /** How many unfinished jobs refer to a data set, by its name. */
  final Map<String, Integer> datasetUses = new HashMap<>();

  CoreState(Stores stores, LeasePolicy policy) {
    this.stores = stores;
    this.policy = policy;
    this.jobs = stores.jobs();
    this.fleet = new Fleet(policy.silence().toNanos());
  }

  // ---- Jobs

  /** The lease that a worker names, if its term is the job's current one. */
  @Nullable Running current(LeaseRef ref, String workerId) {
    @Nullable Running held = held(ref);
    return held != null && held.replicas.get(ref.getRank()).workerId().equals(workerId)
        ? held
        : null;
  }

  /**
   * The job under a lease whose term is the current one. That its time is up does not matter while
   * nobody has taken the next.
   */
  Running live(LeaseRef ref) {
    @Nullable Running held = held(ref);
    if (held == null) {
      throw aborted("job " + ref.getJobId() + ": term " + ref.getTerm() + " is over");
    }
    return held;
  }

  /** The job under a lease, where that is the current one and has this replica still. */
  private @Nullable Running held(LeaseRef ref) {
    Running held = running.get(ref.getJobId());
    return held != null
            && held.lease().term() == ref.getTerm()
            && held.lease().leaseId().equals(ref.getLeaseId())
            && ref.getRank() >= 0
            && ref.getRank() < held.replicas.size()
            && !held.replicas.get(ref.getRank()).gaveUp
        ? held
        : null;
  }

  /**
   * As {@link #live}, for what rank 0 alone may do.
   *
   * @param what the call's name
   */
  Running liveFirst(LeaseRef ref, String what) {
    Running held = live(ref);
    if (ref.getRank() != 0) {
      throw invalid(
          "lease.rank: it is " + ref.getRank() + ", but " + what + " is for rank 0 alone");
    }
    return held;
  }

  /** A worker for each of its replicas, by rank. */
  List<Worker> workers(Running held) {
    return held.replicas.stream().map(r -> fleet.get(r.workerId(), r.workerName())).toList();
  }

  /** The attempt of a lease that exists or existed. */
  Attempt attemptOf(LeaseRef ref) {
    @Nullable Running held = running.get(ref.getJobId());
    if (held != null && held.lease().term() == ref.getTerm()) {
      return live(ref).attempt;
    }
    return jobs.attempt(ref.getJobId(), ref.getTerm())
        .filter(a -> a.lease().leaseId().equals(ref.getLeaseId()))
        .orElseThrow(() -> aborted("job " + ref.getJobId() + ": there is no such lease"));
  }

  List<DatasetRecord> datasets(JobSpec spec) {
    return DataSpecs.datasetNames(spec).stream()
        .map(
            name ->
                stores
                    .datasets()
                    .find(name)
                    .orElseThrow(() -> new IllegalStateException("data set " + name + " is gone")))
        .toList();
  }

  void countDatasets(Job job, int change) {
    for (String name : DataSpecs.datasetNames(job.spec())) {
      datasetUses.merge(name, change, (a, b) -> a + b == 0 ? null : a + b);
    }
  }

  void discard(CheckpointRecord checkpoint) {
    jobs.deleteCheckpoint(checkpoint);
    stores.uploads().setState(checkpoint.id(), Upload.State.DISCARDED);
  }

  /** An order to one replica's worker, where that is connected. */
  void order(Running held, Replica to, OrderKind kind, String reason) {
    @Nullable Worker holder = fleet.find(to.workerId());
    if (holder != null) {
      outbox.order(holder, Outbox.ref(held.job.id(), held.lease(), to.rank), kind, reason);
    }
  }

  /**
   * The replicas of a lease that is over are to stop, so that no trainer stays behind.
   *
   * @param actor the rank that ended it, and knows; -1: none
   */
  void stopAll(Running held, int actor, String reason) {
    for (Replica replica : held.replicas) {
      if (replica.rank != actor && !replica.gaveUp) {
        order(held, replica, OrderKind.ORDER_KIND_CANCEL, reason);
      }
    }
  }

  Job find(String jobId) {
    return jobs.find(jobId).orElseThrow(() -> notFound("there is no job " + jobId));
  }

  void write(Job next, Fence fence) {
    if (!jobs.update(next, fence)) {
      // Memory and store are out of step: the caller rolls back and reloads.
      throw new IllegalStateException("job " + fence.jobId() + " changed under " + fence);
    }
  }
}
