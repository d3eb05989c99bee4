package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.invalid;
import static dev.baton.coordinator.core.CoordinatorException.precondition;

import com.google.protobuf.ByteString;
import dev.baton.v1.AppendLogRequest;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.DamagedCheckpoint;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.NewArtifact;
import dev.baton.v1.Progress;
import dev.baton.v1.Result;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What a worker does with its lease. Every write is conditional on it. */
final class AttemptWrites {
  private static final long FIRST_WORKER_FAILURE_WAIT_MS = 5_000;
  private static final int MAX_LOG_PIECE = 256 << 10;

  /** Of one job. */
  static final int MAX_LOG = 16 << 20;

  private static final ByteString LOG_IS_FULL =
      ByteString.copyFromUtf8("\n[the log ends here: it has reached 16 MiB]\n");

  private final CoreState state;
  private final Leases leases;
  private final Gangs gangs;
  private final GangForming forming;
  private final Uploads uploads;

  AttemptWrites(CoreState state, Leases leases, Gangs gangs, GangForming forming, Uploads uploads) {
    this.state = state;
    this.leases = leases;
    this.gangs = gangs;
    this.forming = forming;
    this.uploads = uploads;
  }

  /** As {@link Scheduler#beginAttempt}. */
  void beginAttempt(BeginAttemptRequest request, Now now) {
    Running held = state.liveFirst(request.getLease(), "BeginAttempt");
    if (held.attempt.begun()) {
      // Repeated, perhaps late: what was committed since must stay.
      return;
    }
    Job job = held.job;
    List<CheckpointRecord> checkpoints = state.jobs.checkpoints(job.id());
    long resumed = request.getResumedStep();
    Group group = held.group;
    boolean inMemory = request.getFromMemory() && group != null && group.follows;
    if (request.getFromMemory() && !inMemory) {
      throw precondition("job " + job.id() + ": from_memory is for a lease that follows another");
    }
    // In a gang another replica may have found a newer checkpoint whole.
    boolean known =
        (request.getCheckpointId().isEmpty() && (resumed == 0 || inMemory))
            || checkpoints.stream()
                .anyMatch(
                    c ->
                        c.step() == resumed
                            && (group != null || c.id().equals(request.getCheckpointId())));
    if (!known) {
      throw precondition(
          "job "
              + job.id()
              + " has no checkpoint '"
              + request.getCheckpointId()
              + "' of step "
              + resumed);
    }
    String firstKind = job.kind().first();
    if (job.spec().getResources().getSameKind()
        && !firstKind.isEmpty()
        && !firstKind.equals(request.getKind())) {
      throw precondition(
          "job "
              + job.id()
              + " wants the kind that it began on, "
              + firstKind
              + "; this is "
              + request.getKind());
    }
    Job next = JobTransitions.next(job, new JobEvent.Began(request.getKind()), now);
    if (next.kind().changed() && !job.kind().changed()) {
      state.outbox.notify(
          next, "message", "the kind changed from " + firstKind + " to " + request.getKind(), now);
    }
    if (!next.equals(job)) {
      state.write(next, job.fence());
    }
    held.job = next;
    Map<String, String> damaged = new HashMap<>();
    for (DamagedCheckpoint found : request.getDamagedList()) {
      damaged.put(found.getCheckpointId(), found.getReason());
    }
    for (CheckpointRecord checkpoint : checkpoints) {
      String reason = damaged.get(checkpoint.id());
      if (reason != null) {
        state.outbox.notify(
            next,
            "checkpoint_damaged",
            "the checkpoint of step " + checkpoint.step() + " is damaged: " + reason,
            now);
      }
      // A checkpoint that a replica committed just before it was lost may lie a step beyond what
      // the others have in memory; it stays, as what they compute again is the same.
      if (reason != null || (checkpoint.step() > resumed && !inMemory)) {
        state.discard(checkpoint);
      }
    }
    long newest =
        state.jobs.checkpoints(job.id()).stream().mapToLong(CheckpointRecord::step).max().orElse(0);
    state.jobs.deleteMetricsBeyond(job.id(), inMemory ? Math.max(resumed, newest) : resumed);
    held.attempt = held.attempt.began(resumed, request.getKind());
    state.jobs.updateAttempt(held.attempt);
    held.progress =
        (inMemory ? held.progress.toBuilder() : Progress.newBuilder().setPhase("preparing"))
            .setStep(resumed)
            .setTotalSteps(request.getTotalSteps())
            .build();
    state.outbox.notify(
        next,
        "attempt_started",
        "attempt "
            + held.attempt.number()
            + " on "
            + held.lease().on()
            + (resumed == 0 ? ", from the beginning" : ", from step " + resumed)
            + (inMemory ? " in memory" : ""),
        now);
    gangs.begun(held, now);
  }

  /** As {@link Scheduler#storageRefused}. */
  void storageRefused(LeaseRef lease, String why, Now now) {
    @Nullable Running held = state.running.get(lease.getJobId());
    if (held == null || held.lease().term() != lease.getTerm()) {
      return;
    }
    // Once for each time that the space runs out, not for each try.
    if (held.notStored.isEmpty()) {
      state.outbox.notify(held.job, "message", JobQueries.notStored(why), now);
    }
    held.notStored = why;
  }

  /** As {@link Scheduler#commitCheckpoint}. */
  String commitCheckpoint(CommitCheckpointRequest request, Now now) {
    Upload upload = uploads.uploadOf(request.getLease(), request.getUpload().getUploadId());
    if (upload.state() != Upload.State.OPEN) {
      // Repeated.
      return upload.uploadId();
    }
    Running held = state.liveFirst(request.getLease(), "CommitCheckpoint");
    Job job = held.job;
    long step = request.getStep();
    if (!held.attempt.begun()) {
      throw precondition("job " + job.id() + ": BeginAttempt comes before CommitCheckpoint");
    }
    List<CheckpointRecord> checkpoints = state.jobs.checkpoints(job.id());
    @Nullable CheckpointRecord last =
        checkpoints.isEmpty() ? null : checkpoints.get(checkpoints.size() - 1);
    long newest = last == null ? -1 : last.step();
    // One of an earlier term may lie beyond what this one has in memory.
    long mine =
        last != null && last.term() == held.lease().term()
            ? Math.max(newest, held.attempt.resumedStep())
            : held.attempt.resumedStep();
    if (step < mine) {
      throw invalid("step: it is " + step + ", but step " + mine + " is committed already");
    }
    checkPoints(request.getPointsList(), step);
    if (step <= newest) {
      // The same state once more, sent only to hand the lease back.
      state.stores.uploads().setState(upload.uploadId(), Upload.State.DISCARDED);
    } else {
      state.jobs.insertCheckpoint(
          new CheckpointRecord(
              upload.uploadId(),
              job.id(),
              held.lease().term(),
              step,
              upload.content().getBytes(),
              upload.content().getSha256(),
              upload.objectKey(),
              now.epochMs()));
      state.stores.uploads().setState(upload.uploadId(), Upload.State.KEPT);
      int excess = checkpoints.size() + 1 - job.spec().getCheckpoint().getKeep();
      checkpoints
          .subList(0, Math.max(0, Math.min(excess, checkpoints.size())))
          .forEach(state::discard);
    }
    state.jobs.putMetrics(job.id(), request.getPointsList());
    state.workerFailures.remove(job.id());
    if (step > held.progress.getStep()) {
      held.progress = held.progress.toBuilder().setStep(step).build();
    }
    Job committed =
        JobTransitions.next(
            job, new JobEvent.Committed(held.progress.toBuilder().setStep(step).build()), now);
    if (step > held.attempt.resumedStep()) {
      held.attempt = held.attempt.reached(step);
    }
    held.notStored = "";
    state.outbox.notify(committed, "checkpoint", "checkpoint of step " + step, now);
    if (request.getRelease()) {
      String reason =
          request.getReleaseReason().isEmpty() ? "handed over" : request.getReleaseReason();
      leases.endLease(
          held,
          JobTransitions.next(committed, new JobEvent.Released(reason), now),
          reason,
          AttemptOutcome.ATTEMPT_OUTCOME_RELEASED,
          0,
          now);
    } else {
      state.write(committed, job.fence());
      state.jobs.updateAttempt(held.attempt);
      held.job = committed;
      forming.checkpointKept(held, step);
    }
    return upload.uploadId();
  }

  private static void checkPoints(List<MetricPoint> points, long lastStep) {
    for (MetricPoint point : points) {
      if (point.getStep() > lastStep) {
        throw invalid(
            "points: "
                + point.getSeries()
                + " of step "
                + point.getStep()
                + " lies beyond step "
                + lastStep);
      }
    }
  }

  /** As {@link Scheduler#finishAttempt}. */
  void finishAttempt(FinishAttemptRequest request, Now now) {
    Attempt attempt = state.attemptOf(request.getLease());
    if (attempt.ended() && attempt.outcome() == request.getOutcome()) {
      return;
    }
    Running held = state.live(request.getLease());
    Job job = held.job;
    if (request.getOutcome() == AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED
        || request.getOutcome() == AttemptOutcome.UNRECOGNIZED) {
      throw invalid("outcome: it must be set");
    }
    int rank = request.getLease().getRank();
    boolean done = request.getOutcome() == AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED;
    if (done && rank > 0) {
      throw invalid("lease.rank: it is " + rank + ", but rank 0 alone finishes with success");
    }
    if (done && !held.attempt.begun()) {
      throw precondition("job " + job.id() + ": BeginAttempt comes before FinishAttempt");
    }
    if (isOwnLoss(request.getOutcome()) && gangs.goesOnWithout(held, rank, now)) {
      return;
    }
    List<Upload> files = new ArrayList<>();
    for (NewArtifact artifact : request.getArtifactsList()) {
      Upload file = uploads.uploadOf(request.getLease(), artifact.getUpload().getUploadId());
      if (file.state() != Upload.State.OPEN) {
        throw precondition(
            "artifacts: the upload of "
                + artifact.getName()
                + " is "
                + file.state()
                + "; send it again as a new one");
      }
      files.add(file);
    }
    long lastStep = Math.max(request.getLastStep(), held.attempt.lastStep());
    if (lastStep > held.attempt.resumedStep() && held.attempt.begun()) {
      held.attempt = held.attempt.reached(lastStep);
    }
    if (lastStep > held.progress.getStep()) {
      held.progress = held.progress.toBuilder().setStep(lastStep).build();
    }
    held.progress = held.progress.toBuilder().setPhase("").build();
    String message =
        request.getMessage().isEmpty() ? outcomeName(request.getOutcome()) : request.getMessage();
    boolean declined =
        !held.attempt.begun() && request.getOutcome() == AttemptOutcome.ATTEMPT_OUTCOME_RELEASED;
    JobEvent event =
        switch (request.getOutcome()) {
          case ATTEMPT_OUTCOME_SUCCEEDED ->
              new JobEvent.Succeeded(result(job, request.getResult()), held.progress);
          case ATTEMPT_OUTCOME_USER_ERROR,
              ATTEMPT_OUTCOME_NAN_LOSS,
              ATTEMPT_OUTCOME_OUT_OF_MEMORY ->
              new JobEvent.Failed(message);
          case ATTEMPT_OUTCOME_CRASHED, ATTEMPT_OUTCOME_STALLED -> new JobEvent.Crashed(message);
          case ATTEMPT_OUTCOME_KILLED -> new JobEvent.Killed(message);
          case ATTEMPT_OUTCOME_RELEASED ->
              declined
                  ? new JobEvent.Declined(message, declinedWait(held, rank, now))
                  : new JobEvent.Released(message);
          case ATTEMPT_OUTCOME_WORKER_ERROR ->
              new JobEvent.WorkerFailed(message, workerFailedWait(job.id(), now));
          case ATTEMPT_OUTCOME_UNSPECIFIED, UNRECOGNIZED ->
              throw new IllegalStateException("checked above");
        };
    Job next = JobTransitions.next(job, event, now);
    if (done) {
      for (int i = 0; i < files.size(); i++) {
        Upload file = files.get(i);
        state.jobs.putArtifact(
            new ArtifactRecord(
                job.id(),
                request.getArtifacts(i).getName(),
                file.content().getBytes(),
                file.content().getSha256(),
                file.objectKey(),
                now.epochMs()));
        state.stores.uploads().setState(file.uploadId(), Upload.State.KEPT);
      }
    }
    // A job that goes on begins again at its newest checkpoint, and withdraws points beyond that.
    if (next.state().ended() && rank == 0) {
      state.jobs.putMetrics(job.id(), request.getPointsList());
    }
    if (next.state().ended() && !done) {
      next = next.with(held.progress);
    }
    String reason = declined ? "given back" : outcomeName(request.getOutcome());
    leases.endLease(held, next, reason, request.getOutcome(), rank, now);
  }

  /** Whether an outcome ends but one replica of a gang, where the others can go on. */
  private static boolean isOwnLoss(AttemptOutcome outcome) {
    return outcome == AttemptOutcome.ATTEMPT_OUTCOME_KILLED
        || outcome == AttemptOutcome.ATTEMPT_OUTCOME_RELEASED
        || outcome == AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR;
  }

  private static Result result(Job job, Result result) {
    return result.toBuilder()
        .setExact(job.spec().getTraining().getExact() && !job.kind().changed())
        .build();
  }

  private static String outcomeName(AttemptOutcome outcome) {
    return switch (outcome) {
      case ATTEMPT_OUTCOME_SUCCEEDED -> "succeeded";
      case ATTEMPT_OUTCOME_USER_ERROR -> "failed";
      case ATTEMPT_OUTCOME_NAN_LOSS -> "NaN loss";
      case ATTEMPT_OUTCOME_OUT_OF_MEMORY -> "out of memory";
      case ATTEMPT_OUTCOME_CRASHED -> "crashed";
      case ATTEMPT_OUTCOME_STALLED -> "stalled";
      case ATTEMPT_OUTCOME_KILLED -> "killed";
      case ATTEMPT_OUTCOME_RELEASED -> "handed over";
      case ATTEMPT_OUTCOME_WORKER_ERROR -> "worker error";
      case ATTEMPT_OUTCOME_UNSPECIFIED, UNRECOGNIZED -> "ended";
    };
  }

  /** A job whose offer came back goes to others at once, and waits where it always comes back. */
  private long declinedWait(Running held, int rank, Now now) {
    @Nullable Worker holder = state.fleet.find(held.replicas.get(rank).workerId());
    if (holder == null || !holder.mayTakeJobs()) {
      return 0;
    }
    int inARow = state.workerFailures.merge(held.job.id(), 1, Integer::sum);
    return inARow == 1 ? 0 : now.epochMs() + JobTransitions.backoffMs(1_000, inARow - 1);
  }

  private long workerFailedWait(String jobId, Now now) {
    int inARow = state.workerFailures.merge(jobId, 1, Integer::sum);
    return now.epochMs() + JobTransitions.backoffMs(FIRST_WORKER_FAILURE_WAIT_MS, inARow);
  }

  /** As {@link Scheduler#appendLog}. */
  long appendLog(AppendLogRequest request, Now now) {
    Running held = state.liveFirst(request.getLease(), "AppendLog");
    if (request.getData().size() > MAX_LOG_PIECE || request.getOffset() < 0) {
      throw invalid("data: at most 256 KiB, at an offset of 0 or more");
    }
    LogPosition end = held.logEnd;
    if (end == null) {
      end = state.stores.logs().end(held.job.id(), held.lease().term());
    }
    if (end.inJob() >= MAX_LOG) {
      // Taken, so that the worker goes on, and dropped: the note at the log's end says so.
      held.logEnd = end;
      return request.getOffset() + request.getData().size();
    }
    long skip = end.inTerm() - request.getOffset();
    if (skip >= 0 && skip < request.getData().size()) {
      ByteString fresh = request.getData().substring((int) skip);
      if (end.inJob() + fresh.size() >= MAX_LOG) {
        fresh = fresh.concat(LOG_IS_FULL);
      }
      state.stores.logs().append(held.job.id(), held.lease().term(), end, fresh);
      end = new LogPosition(end.inTerm() + fresh.size(), end.inJob() + fresh.size());
      state.outbox.add(new Effect.LogGrew(held.job.id(), end.inJob()));
    }
    held.logEnd = end;
    return end.inTerm();
  }
}
