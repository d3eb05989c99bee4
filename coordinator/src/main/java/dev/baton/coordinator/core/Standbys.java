package dev.baton.coordinator.core;

import dev.baton.v1.Assignment;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.Prepare;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Workers that make themselves ready for a job that they may be offered soon. */
final class Standbys {
  private static final int STANDBY_JOBS_PER_SLOT = 4;

  private final CoreState state;

  Standbys(CoreState state) {
    this.state = state;
  }

  /**
   * Sees to it that a running job has a worker that stands by, if one has room. A gang has none: it
   * goes on without the one it lost, or takes the room itself.
   */
  void standBy(Running held, boolean leaving, Now now) {
    if (held.group != null
        || held.job.state() != JobState.RUNNING
        || (!leaving && standby(held.job.id()) != null)) {
      return;
    }
    if (state.fleet.hasRoom()) {
      prepare(held.waiting(), held.job, state.fleet.find(held.first().workerId()), true, now);
    }
  }

  /** The worker that was told to prepare the job, if it still could take it. */
  @Nullable Worker standby(String jobId) {
    String id = state.standbys.get(jobId);
    Worker worker = id == null ? null : state.fleet.find(id);
    return worker != null && worker.hasFreeSlot() && worker.told.containsKey(jobId) ? worker : null;
  }

  /** Tells the best worker to make itself ready for a job that it may be offered soon. */
  void prepare(Waiting waits, Job job, @Nullable Worker holder, boolean stageOnly, Now now) {
    if (waits.needs().gang()) {
      return;
    }
    @Nullable Worker old = standby(job.id());
    Optional<Worker> chosen = state.fleet.choose(waits, old, holder, null, now);
    if (chosen.isEmpty()) {
      return;
    }
    Worker worker = chosen.get();
    Worker.Preparation wanted = stageOnly ? Worker.Preparation.STAGE : Worker.Preparation.RESTORE;
    if (stageOnly
        && (worker.told.containsKey(job.id())
            || worker.told.size() >= STANDBY_JOBS_PER_SLOT * worker.slots)) {
      return;
    }
    if (worker != old) {
      unprepare(job.id());
    }
    worker.told.put(job.id(), wanted);
    state.standbys.put(job.id(), worker.id);
    state.outbox.send(
        worker,
        CoordinatorMessage.newBuilder()
            .setPrepare(Prepare.newBuilder().setAssignment(assignment(job, stageOnly)))
            .build());
  }

  /** Tells a worker to make itself ready to take part in a running job. */
  void prepareToJoin(Job job, Worker worker) {
    unprepare(job.id());
    worker.told.put(job.id(), Worker.Preparation.JOIN);
    state.standbys.put(job.id(), worker.id);
    Assignment assignment =
        assignment(job, false).toBuilder().setJoins(true).clearCheckpoints().build();
    state.outbox.send(
        worker,
        CoordinatorMessage.newBuilder()
            .setPrepare(Prepare.newBuilder().setAssignment(assignment))
            .build());
  }

  /** Takes it back. */
  void unprepare(String jobId) {
    String id = state.standbys.remove(jobId);
    @Nullable Worker worker = id == null ? null : state.fleet.find(id);
    if (worker != null && worker.told.remove(jobId) != null) {
      state.outbox.unprepare(worker, jobId);
    }
  }

  /** A job as a worker is told of it. */
  Assignment assignment(Job job, boolean stageOnly) {
    Assignment.Builder assignment =
        Assignment.newBuilder()
            .setJobId(job.id())
            .setSpec(job.spec())
            .setWorldSize(1)
            .setSpecDigest(job.submission().specDigest())
            .setStageOnly(stageOnly);
    state.datasets(job.spec()).forEach(record -> assignment.addDatasets(record.dataset()));
    if (job.term() > 0) {
      List<CheckpointRecord> checkpoints = state.jobs.checkpoints(job.id());
      for (int i = checkpoints.size() - 1; i >= 0; i--) {
        assignment.addCheckpoints(JobViews.checkpoint(checkpoints.get(i)));
      }
    }
    return assignment.build();
  }
}
