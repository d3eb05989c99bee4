package dev.baton.coordinator.core;

import dev.baton.v1.Checkpoint;
import dev.baton.v1.Progress;
import dev.baton.v1.Result;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Stored values as users and workers see them. */
final class JobViews {
  private JobViews() {}

  static dev.baton.v1.JobState state(JobState state) {
    return switch (state) {
      case QUEUED -> dev.baton.v1.JobState.JOB_STATE_QUEUED;
      case RUNNING, PAUSING -> dev.baton.v1.JobState.JOB_STATE_RUNNING;
      case PAUSED -> dev.baton.v1.JobState.JOB_STATE_PAUSED;
      case SUCCEEDED -> dev.baton.v1.JobState.JOB_STATE_SUCCEEDED;
      case FAILED -> dev.baton.v1.JobState.JOB_STATE_FAILED;
      case CANCELLED -> dev.baton.v1.JobState.JOB_STATE_CANCELLED;
    };
  }

  static dev.baton.v1.Job job(
      Job job,
      String reason,
      Progress progress,
      List<Attempt> attempts,
      List<CheckpointRecord> checkpoints) {
    dev.baton.v1.Job.Builder view =
        dev.baton.v1.Job.newBuilder()
            .setId(job.id())
            .setSpec(job.spec())
            .setState(state(job.state()))
            .setReason(reason)
            .setCreatedAtMs(job.submission().createdAtMs())
            .setProgress(progress)
            .setFailures(job.failures().retried());
    attempts.forEach(attempt -> view.addAttempts(attempt(attempt)));
    checkpoints.forEach(checkpoint -> view.addCheckpoints(checkpoint(checkpoint)));
    End end = job.end();
    if (end != null) {
      view.setEndedAtMs(end.atMs());
      @Nullable Result result = end.result();
      if (result != null) {
        view.setResult(result);
      }
    }
    return view.build();
  }

  private static dev.baton.v1.Attempt attempt(Attempt attempt) {
    dev.baton.v1.Attempt.Builder view =
        dev.baton.v1.Attempt.newBuilder()
            .setNumber(Math.toIntExact(attempt.number()))
            .setTerm(attempt.lease().term())
            .addAllWorkers(attempt.lease().workerNames())
            .setStartedAtMs(attempt.startedAtMs())
            .setEndedAtMs(attempt.endedAtMs())
            .setEndReason(attempt.endReason())
            .setKind(attempt.kind());
    if (attempt.firstStep() > 0) {
      view.setFirstStep(attempt.firstStep());
    }
    if (attempt.lastStep() > 0) {
      view.setLastStep(attempt.lastStep());
    }
    return view.build();
  }

  static Checkpoint checkpoint(CheckpointRecord checkpoint) {
    return Checkpoint.newBuilder()
        .setStep(checkpoint.step())
        .setBytes(checkpoint.bytes())
        .setSha256(checkpoint.sha256())
        .setCommittedAtMs(checkpoint.committedAtMs())
        .setCheckpointId(checkpoint.id())
        .setTerm(checkpoint.term())
        .build();
  }
}
