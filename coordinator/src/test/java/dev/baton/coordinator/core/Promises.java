package dev.baton.coordinator.core;

import dev.baton.coordinator.testing.InMemoryStores;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.MetricPoint;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** What must hold whatever happens: of every transaction, and of a job when it has ended. */
final class Promises {
  private final Simulation world;
  private final InMemoryStores database;

  /** Every job, as the last transaction left it. */
  private final Map<String, Job> audited = new HashMap<>();

  Promises(Simulation world, InMemoryStores database) {
    this.world = world;
    this.database = database;
    database.audit(this::audit);
    database.watch(
        change -> {
          if (change.before() == null && change.after() instanceof CheckpointRecord checkpoint) {
            auditCheckpoint(checkpoint);
          }
        });
  }

  boolean ended(SimulatedJob job) {
    @Nullable Job stored = job.id == null ? null : audited.get(job.id);
    return stored != null && stored.state().ended();
  }

  /** What every committed transaction must be like. */
  private void audit(List<InMemoryStores.Change> changes) {
    Set<String> touched = new HashSet<>();
    for (InMemoryStores.Change change : changes) {
      Object after = change.after();
      if (after instanceof Job job) {
        touched.add(job.id());
      } else if (after instanceof MetricPoint point && change.before() instanceof MetricPoint was) {
        if (point.getValue() != was.getValue()) {
          throw new Simulation.Broken("a point changed: " + was + " to " + point);
        }
      }
    }
    for (String id : touched) {
      Job job = database.stores().jobs().find(id).orElseThrow();
      Job before = audited.put(id, job);
      if (before != null) {
        if (before.state().ended()) {
          throw new Simulation.Broken(
              "job " + id + " had ended " + before.state() + ", now " + job.state());
        }
        if (job.term() < before.term()) {
          throw new Simulation.Broken("job " + id + " went back from term " + before.term());
        }
      }
      auditPoints(job);
      for (Attempt attempt : database.stores().jobs().attempts(id)) {
        boolean lives = attempt.lease().equals(job.lease());
        if (lives == attempt.ended()) {
          throw new Simulation.Broken(
              "job " + id + " with lease " + job.lease() + " has attempt " + attempt);
        }
      }
    }
    audited.values().forEach(this::auditMembers);
  }

  /** Never fewer than the least, never more than the most, and no worker over its slots. */
  private void auditMembers(Job job) {
    Lease lease = job.lease();
    if (lease == null) {
      return;
    }
    int replicas = lease.members().size();
    if (replicas < Math.max(1, job.spec().getReplicas().getMin())
        || replicas > Math.max(1, job.spec().getReplicas().getMax())) {
      throw new Simulation.Broken("job " + job.id() + " has " + replicas + " replicas");
    }
    Map<String, Integer> used = new HashMap<>();
    for (Job other : audited.values()) {
      Lease held = other.lease();
      if (held != null) {
        held.workerIds().forEach(id -> used.merge(id, 1, Integer::sum));
      }
    }
    for (String id : lease.workerIds()) {
      SimulatedWorker worker =
          world.workers.stream()
              .filter(w -> id.startsWith(w.name() + "-"))
              .findFirst()
              .orElseThrow(() -> new Simulation.Broken("there never was a worker " + id));
      if (used.getOrDefault(id, 0) > worker.slots()) {
        throw new Simulation.Broken("worker " + id + " has " + used.get(id) + " replicas");
      }
    }
  }

  /** While a job goes on, its points end where its newest checkpoint does. */
  private void auditPoints(Job job) {
    JobStore jobs = database.stores().jobs();
    if (job.state().ended()
        || job.lease() == null
        || !jobs.attempt(job.id(), job.term()).orElseThrow().begun()) {
      return;
    }
    List<CheckpointRecord> checkpoints = jobs.checkpoints(job.id());
    long newest = checkpoints.isEmpty() ? 0 : checkpoints.get(checkpoints.size() - 1).step();
    if (job.spec().getReplicas().getMax() > 1) {
      // One replica may have found a checkpoint whole that was damaged when the next one read it.
      newest = Math.max(newest, jobs.attempt(job.id(), job.term()).orElseThrow().resumedStep());
    }
    for (MetricPoint point : jobs.metrics(job.id())) {
      if (point.getStep() > newest) {
        throw new Simulation.Broken("job " + job.id() + " at step " + newest + " has " + point);
      }
    }
  }

  private void auditCheckpoint(CheckpointRecord checkpoint) {
    Job job = database.stores().jobs().find(checkpoint.jobId()).orElseThrow();
    if (checkpoint.term() != job.term()) {
      throw new Simulation.Broken("term " + checkpoint.term() + " committed at term " + job.term());
    }
    Upload upload = database.stores().uploads().find(checkpoint.id()).orElseThrow();
    if (upload.term() != checkpoint.term() || !upload.objectKey().equals(checkpoint.objectKey())) {
      throw new Simulation.Broken("a checkpoint of term " + checkpoint.term() + " from " + upload);
    }
    Simulation.Blob blob = world.objects.get(checkpoint.objectKey());
    if (blob == null || blob.step() != checkpoint.step()) {
      throw new Simulation.Broken("checkpoint " + checkpoint + " lies on " + blob);
    }
    if (blob.state() != SimulatedJob.state(checkpoint.jobId(), checkpoint.step())) {
      throw new Simulation.Broken("checkpoint " + checkpoint + " holds another state");
    }
  }

  /** Whether this lease is the newest of its job. */
  boolean current(LeaseRef ref) {
    Lease lease = database.stores().jobs().find(ref.getJobId()).orElseThrow().lease();
    return lease != null
        && lease.term() == ref.getTerm()
        && lease.leaseId().equals(ref.getLeaseId());
  }

  /** A commit was acknowledged to a worker: it was of that worker's term. */
  void committed(String jobId, long term, String checkpointId) {
    // Where the reply came late, the sweep may have been there.
    database
        .stores()
        .uploads()
        .find(checkpointId)
        .filter(upload -> upload.term() != term || !upload.jobId().equals(jobId))
        .ifPresent(
            upload -> {
              throw new Simulation.Broken(
                  "term " + term + " of job " + jobId + " was told of " + upload);
            });
  }

  void checkEnded(SimulatedJob job) {
    String id = Objects.requireNonNull(job.id);
    JobStore jobs = database.stores().jobs();
    Job stored =
        jobs.find(id).orElseThrow(() -> new Simulation.Broken(job.requestId + " was lost"));
    List<Attempt> attempts = jobs.attempts(id);
    if (stored.state() == JobState.CANCELLED) {
      if (!job.cancels) {
        throw new Simulation.Broken(job.requestId + " was cancelled by nobody");
      }
      return;
    }
    if (job.cancelled && stored.state() != JobState.CANCELLED) {
      throw new Simulation.Broken(job.requestId + " was cancelled, and is " + stored.state());
    }
    if (stored.failures().retried() > world.crashesReported) {
      throw new Simulation.Broken(job.requestId + ": preemption was counted as a failure");
    }
    if (stored.state() == JobState.FAILED) {
      if (world.weather != Simulation.Weather.STORM || !stored.reason().contains("abruptly")) {
        throw new Simulation.Broken(job.requestId + " failed: " + stored.reason());
      }
      List<CheckpointRecord> checkpoints = jobs.checkpoints(id);
      long since = checkpoints.isEmpty() ? 0 : checkpoints.get(checkpoints.size() - 1).term();
      long abrupt =
          attempts.stream()
              .filter(a -> a.lease().term() >= since)
              .filter(
                  a ->
                      a.endReason().startsWith("its ")
                          || Set.of("killed", "worker lost", "lease expired", "worker error")
                              .contains(a.endReason()))
              .count();
      if (abrupt < JobTransitions.ABRUPT_LIMIT) {
        throw new Simulation.Broken(
            job.requestId + " was given up after " + abrupt + " abrupt ends");
      }
      return;
    }
    String weights =
        Objects.requireNonNull(Objects.requireNonNull(stored.end()).result()).getWeightsSha256();
    if (!weights.equals(Long.toHexString(SimulatedJob.state(id, job.steps)))) {
      throw new Simulation.Broken(job.requestId + " ended with other weights");
    }
    checkMetrics(job, jobs.metrics(id));
    checkAttempts(job, attempts);
  }

  private static void checkMetrics(SimulatedJob job, List<MetricPoint> points) {
    String id = Objects.requireNonNull(job.id);
    int i = 0;
    long state = SimulatedJob.start(id);
    for (long step = 1; step <= job.steps; step++) {
      state = SimulatedJob.stepped(state, step);
      if (!SimulatedJob.logs(step, job.steps)) {
        continue;
      }
      if (i >= points.size()
          || points.get(i).getStep() != step
          || points.get(i).getValue() != SimulatedJob.loss(state)) {
        throw new Simulation.Broken(
            job.requestId
                + ": no right point at step "
                + step
                + " of "
                + job.steps
                + ": "
                + points);
      }
      i++;
    }
    if (i != points.size()) {
      throw new Simulation.Broken(job.requestId + ": " + (points.size() - i) + " points too many");
    }
  }

  private void checkAttempts(SimulatedJob job, List<Attempt> attempts) {
    // An offer that never arrived had no healthy attempt behind it.
    if (world.weather == Simulation.Weather.COORDINATOR_ONLY
        && !job.gang()
        && attempts.stream().filter(Attempt::begun).count() != 1) {
      throw new Simulation.Broken(job.requestId + " noticed the coordinator: " + attempts);
    }
    // A step that a replica ended as its group broke is run again by the others.
    long again = attempts.stream().filter(a -> a.endReason().equals(Gangs.REGROUPED)).count();
    if (world.weather != Simulation.Weather.STORM && job.repeated > again) {
      throw new Simulation.Broken(
          job.requestId + " ran " + job.repeated + " steps again, in " + attempts);
    }
    for (Attempt attempt : attempts) {
      if (world.weather == Simulation.Weather.DRAINS_ONLY
          && attempt.begun()
          && !Set.of("succeeded", "handed over", Gangs.REGROUPED).contains(attempt.endReason())) {
        throw new Simulation.Broken(job.requestId + " was not handed over: " + attempt);
      }
      if (attempt.firstStep() > 0 && attempt.firstStep() != attempt.resumedStep() + 1) {
        throw new Simulation.Broken(job.requestId + ": " + attempt);
      }
    }
  }
}
