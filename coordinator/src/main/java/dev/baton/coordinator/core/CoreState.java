package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.aborted;
import static dev.baton.coordinator.core.CoordinatorException.notFound;

import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.OrderKind;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What the core knows, for all of its parts: the stores, and in memory what is cached of them, who
 * is connected, and what is to be told. The parts run on one thread.
 */
final class CoreState {
  final Stores stores;
  final JobStore jobs;
  final Outbox outbox = new Outbox();
  final Fleet fleet;
  final WaitingQueue waiting = new WaitingQueue();
  final Timers timers = new Timers();

  /** Jobs under a lease, by id. */
  final Map<String, Running> running = new LinkedHashMap<>();

  /** Which worker was told to stand by for a job. */
  final Map<String, String> standbys = new HashMap<>();

  /** Failures of workers, in a row, over a job. */
  final Map<String, Integer> workerFailures = new HashMap<>();

  /** How many unfinished jobs refer to a data set, by its name. */
  final Map<String, Integer> datasetUses = new HashMap<>();

  CoreState(Stores stores, LeasePolicy policy) {
    this.stores = stores;
    this.jobs = stores.jobs();
    this.fleet = new Fleet(policy.heartbeat().toNanos() * 5 / 2);
  }

  // ---- Jobs

  /** The lease that a worker names, if its term is the job's current one. */
  @Nullable Running current(LeaseRef ref, String workerId) {
    Running held = running.get(ref.getJobId());
    return held != null
            && held.lease().term() == ref.getTerm()
            && held.lease().leaseId().equals(ref.getLeaseId())
            && held.lease().workerId().equals(workerId)
        ? held
        : null;
  }

  /**
   * The job under a lease whose term is the current one. That its time is up does not matter while
   * nobody has taken the next.
   */
  Running live(LeaseRef ref) {
    Running held = running.get(ref.getJobId());
    if (held == null
        || held.lease().term() != ref.getTerm()
        || !held.lease().leaseId().equals(ref.getLeaseId())) {
      throw aborted("job " + ref.getJobId() + ": term " + ref.getTerm() + " is over");
    }
    return held;
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
    return JobSpecs.datasetNames(spec).stream()
        .map(
            name ->
                stores
                    .datasets()
                    .find(name)
                    .orElseThrow(() -> new IllegalStateException("data set " + name + " is gone")))
        .toList();
  }

  void countDatasets(Job job, int change) {
    for (String name : JobSpecs.datasetNames(job.spec())) {
      datasetUses.merge(name, change, (a, b) -> a + b == 0 ? null : a + b);
    }
  }

  void discard(CheckpointRecord checkpoint) {
    jobs.deleteCheckpoint(checkpoint);
    stores.uploads().setState(checkpoint.id(), Upload.State.DISCARDED);
  }

  void order(Running held, OrderKind kind, String reason) {
    @Nullable Worker holder = fleet.find(held.lease().workerId());
    if (holder != null) {
      outbox.order(holder, Outbox.ref(held.job.id(), held.lease()), kind, reason);
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
