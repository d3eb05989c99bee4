package dev.baton.coordinator.core;

import dev.baton.v1.Progress;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Jobs as their users see them. */
final class JobQueries {
  private static final long MILLI = 1_000_000;

  private final CoreState state;
  private final Leases leases;
  private final Placement placement;

  JobQueries(CoreState state, Leases leases, Placement placement) {
    this.state = state;
    this.leases = leases;
    this.placement = placement;
  }

  /** As {@link Scheduler#view}. */
  dev.baton.v1.Job view(String jobId, Now now) {
    Job job = state.find(jobId);
    List<Attempt> attempts = new ArrayList<>(state.jobs.attempts(jobId));
    @Nullable Running live = state.running.get(jobId);
    if (live != null && !attempts.isEmpty()) {
      attempts.set(attempts.size() - 1, live.attempt);
    }
    return JobViews.job(
        job, reason(job, now), progress(job), attempts, state.jobs.checkpoints(jobId));
  }

  /** As {@link Scheduler#list}. */
  List<dev.baton.v1.Job> list(Set<JobState> states, int limit, Now now) {
    List<dev.baton.v1.Job> views = new ArrayList<>();
    for (Job job : state.jobs.list(states, limit)) {
      @Nullable Running live = state.running.get(job.id());
      List<Attempt> attempts =
          live != null
              ? List.of(live.attempt)
              : job.term() == 0
                  ? List.of()
                  : state.jobs.attempt(job.id(), job.term()).stream().toList();
      List<CheckpointRecord> checkpoints =
          job.term() == 0 ? List.of() : state.jobs.checkpoints(job.id());
      views.add(
          JobViews.job(
              job,
              reason(job, now),
              progress(job),
              attempts,
              checkpoints.subList(Math.max(0, checkpoints.size() - 1), checkpoints.size())));
    }
    return views;
  }

  private Progress progress(Job job) {
    @Nullable Running live = state.running.get(job.id());
    return live == null ? job.progress() : live.progressOfAll();
  }

  /** Why a job waits or why it ended, in one line. */
  private String reason(Job job, Now now) {
    @Nullable Running held = state.running.get(job.id());
    if (held != null) {
      if (held.available) {
        return "worker " + held.lease().on() + " is silent; " + noRoom(held.waiting(), now);
      }
      for (Replica replica : held.replicas) {
        @Nullable Worker holder = state.fleet.find(replica.workerId());
        if (holder == null || !holder.connected) {
          long seconds = Math.max(0, leases.freeAt(held, replica) - now.nanos()) / (1_000 * MILLI);
          return "worker "
              + replica.workerName()
              + " is silent; its lease runs "
              + seconds
              + " s more";
        }
      }
      if (held.group != null && !held.attempt.begun() && held.replicas.size() > 1) {
        long ready = held.replicas.stream().filter(r -> r.waiting).count();
        return ready + " of " + held.replicas.size() + " replicas are ready to begin";
      }
      return held.notStored.isEmpty() ? job.reason() : notStored(held.notStored);
    }
    @Nullable Waiting waits = state.waiting.find(job.id());
    if (waits == null) {
      return job.reason();
    }
    String before = job.reason().isEmpty() ? "" : job.reason() + "; ";
    if (waits.notBeforeNanos() > now.nanos()) {
      long seconds = (waits.notBeforeNanos() - now.nanos() + 999 * MILLI) / (1_000 * MILLI);
      return before + "waits " + seconds + " s before it is tried again";
    }
    return before + noRoom(waits, now);
  }

  private String noRoom(Waiting job, Now now) {
    int connected = 0;
    int able = 0;
    String lacks = "";
    for (Worker worker : state.fleet.all()) {
      if (worker.mayTakeJobs()) {
        connected++;
        Optional<String> lack = job.needs().lackedBy(worker.machine);
        if (lack.isEmpty()) {
          able++;
        } else if (lacks.isEmpty()) {
          lacks = worker.name + ": " + lack.get();
        }
      }
    }
    if (connected == 0) {
      return "no worker is connected";
    }
    if (able == 0) {
      return "none of " + connected + " connected workers fits (" + lacks + ")";
    }
    if (job.needs().gang()) {
      return placement.whyNoGang(job, now);
    }
    return able == 1
        ? "the one worker that fits is busy"
        : "all " + able + " workers that fit are busy";
  }

  static String notStored(String why) {
    return "it goes on, but its worker cannot store anything and keeps trying: " + why;
  }
}
