package dev.baton.worker.daemon;

import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.Checkpoint;
import dev.baton.v1.DaemonMessage;
import dev.baton.v1.DamagedCheckpoint;
import dev.baton.v1.Prepared;
import dev.baton.v1.Run;
import dev.baton.v1.TrainerFailed;
import dev.baton.v1.TrainerGroupFormed;
import dev.baton.worker.cache.LocalDisk;
import dev.baton.worker.cache.NoRoomException;
import dev.baton.worker.process.TrainerProcess;
import dev.baton.worker.process.TrainerSetting;
import java.io.File;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Future;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What a job needs here before it can go: its data, its checkpoint, and a trainer that has restored
 * it; with or without a lease. Where only staging is asked for, the data alone. Runs on the loop.
 */
final class Preparation {
  private static final Logger log = LoggerFactory.getLogger(Preparation.class);

  private enum Phase {
    /** Data and checkpoint are being fetched. */
    STAGING,
    /** Data is here; that is all that was asked. */
    STAGED,
    /** A trainer loads and restores. */
    RESTORING,
    PREPARED,
    CLOSED
  }

  private final JobRun.Context context;
  private final JobRun run;
  private final Assignment assignment;
  private final TrainerSetting setting;
  private final Path dir;

  private Phase phase = Phase.STAGING;
  private @Nullable Future<?> staging;
  private Stager.@Nullable Staged staged;
  private @Nullable TrainerProcess trainer;
  private @Nullable Prepared prepared;

  /**
   * @param run hears the trainer, and what comes of the preparation
   * @param dir the run's own
   */
  Preparation(
      JobRun.Context context, JobRun run, Assignment assignment, TrainerSetting setting, Path dir) {
    this.context = context;
    this.run = run;
    this.assignment = assignment;
    this.setting = setting;
    this.dir = dir;
  }

  /** Begins. */
  void start() {
    if (!assignment.getStageOnly() && !takeTrainer()) {
      return;
    }
    stage(List.of());
  }

  /** The trainer; empty where none is asked for, or none can be started. */
  Optional<TrainerProcess> trainer() {
    return Optional.ofNullable(trainer);
  }

  boolean isUnderWay() {
    return phase == Phase.STAGING || phase == Phase.RESTORING;
  }

  /** The step of the state that was restored; 0 while none is. */
  long resumedStep() {
    return prepared == null ? 0 : prepared.getResumedStep();
  }

  /** What an attempt begins with, but for its lease. To be asked for once it is prepared. */
  BeginAttemptRequest.Builder beginning() {
    if (prepared == null || staged == null) {
      throw new IllegalStateException("job " + jobId() + " goes without what it needs");
    }
    BeginAttemptRequest.Builder begin =
        BeginAttemptRequest.newBuilder()
            .setResumedStep(prepared.getResumedStep())
            .setKind(prepared.getKind())
            .setTotalSteps(prepared.getTotalSteps())
            .addAllDamaged(staged.damaged());
    staged.checkpoint().ifPresent(c -> begin.setCheckpointId(c.getCheckpointId()));
    return begin;
  }

  /**
   * The same for an attempt in a group: from the checkpoint that was restored here, unless somebody
   * had a newer state, in memory or from a checkpoint that did not come whole to this machine.
   *
   * @param trained whether the trainer's state is more than what was restored
   * @param continued whether the attempt goes on with what is in memory
   */
  BeginAttemptRequest.Builder beginning(
      TrainerGroupFormed group, boolean trained, boolean continued) {
    BeginAttemptRequest.Builder begin =
        beginning().setKind(group.getKind()).setTotalSteps(group.getTotalSteps());
    if (group.getStep() == resumedStep() && !trained && !assignment.getJoins()) {
      return begin;
    }
    begin.setResumedStep(group.getStep()).clearCheckpointId().clearDamaged();
    if (continued) {
      begin.setFromMemory(true);
    } else {
      assignment.getCheckpointsList().stream()
          .filter(checkpoint -> checkpoint.getStep() == group.getStep())
          .findFirst()
          .ifPresent(checkpoint -> begin.setCheckpointId(checkpoint.getCheckpointId()));
    }
    return begin;
  }

  private String jobId() {
    return assignment.getJobId();
  }

  // False where there is none, and the run has been told.
  private boolean takeTrainer() {
    try {
      trainer = context.trainers().acquire(setting, run);
      return true;
    } catch (IOException e) {
      run.onUnprepared(
          AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR,
          LocalDisk.isFull(e)
              ? LocalDisk.full("a trainer", dir)
              : "no trainer can be started: " + e.getMessage());
      return false;
    }
  }

  private void stage(List<DamagedCheckpoint> damaged) {
    phase = Phase.STAGING;
    staging =
        context
            .io()
            .submit(
                () -> {
                  try {
                    Stager.Staged result = context.stager().stage(assignment, dir, damaged);
                    context.loop().execute(() -> onStaged(result));
                  } catch (NoRoomException e) {
                    context.loop().execute(() -> onNotStaged(String.valueOf(e.getMessage())));
                  } catch (IOException e) {
                    String why = "the job's data cannot be had: " + e.getMessage();
                    context.loop().execute(() -> onNotStaged(why));
                  } catch (InterruptedException e) {
                    log.debug("job {}: staging given up", jobId());
                  } catch (RuntimeException e) {
                    log.error("job {}: a bug in staging", jobId(), e);
                    context.loop().execute(() -> onNotStaged("the job's data cannot be had: " + e));
                  }
                });
  }

  private void onStaged(Stager.Staged result) {
    if (phase != Phase.STAGING) {
      context.stager().release(result.datasets());
      return;
    }
    staged = result;
    TrainerProcess mine = trainer;
    if (mine == null) {
      phase = Phase.STAGED;
      log.info("job {}: data staged", jobId());
      return;
    }
    phase = Phase.RESTORING;
    Run.Builder message =
        Run.newBuilder()
            .setJobId(jobId())
            .setSpec(assignment.getSpec())
            .setSpecDigest(assignment.getSpecDigest())
            .addAllDatasets(result.datasets())
            .setJoins(assignment.getJoins())
            .setAttemptDir(dir.resolve("attempt").toString())
            .setDecodedDir(context.stager().decodedDir().toString())
            .setDevice(setting.device());
    result.checkpointFile().ifPresent(file -> message.setCheckpointFile(file.toString()));
    mine.send(DaemonMessage.newBuilder().setRun(message).build());
  }

  private void onNotStaged(String why) {
    if (phase == Phase.STAGING) {
      // Given back unstarted, it costs nothing, however long the object store or the network is
      // away.
      run.onUnprepared(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED, why);
    }
  }

  /**
   * The trainer has restored a state.
   *
   * @return what is wrong with it; empty where the job is prepared now
   */
  Optional<TrainerFailed> restored(Prepared what) {
    // Who joins is given its state by the others.
    boolean restores = !assignment.getJoins();
    long wanted = staged == null ? 0 : staged.checkpoint().map(Checkpoint::getStep).orElse(0L);
    if (restores && what.getResumedStep() != wanted) {
      return Optional.of(
          TrainerFailed.newBuilder()
              .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR)
              .setMessage(
                  "it holds the state of step " + what.getResumedStep() + ", not of step " + wanted)
              .setUnusableCheckpoint(true)
              .build());
    }
    prepared = what;
    phase = Phase.PREPARED;
    log.info(
        "job {}: prepared {}",
        jobId(),
        restores ? "at step " + what.getResumedStep() : "to join a group");
    return Optional.empty();
  }

  /**
   * The trainer has ended, because the checkpoint cannot be restored: goes back to the one before
   * it, with a new trainer, since each prepares once.
   */
  void restoreOlder(String why) {
    Stager.Staged before = staged;
    TrainerProcess used = trainer;
    if (before == null || before.checkpoint().isEmpty() || used == null) {
      run.onUnprepared(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR, why);
      return;
    }
    if (takeTrainer()) {
      context.trainers().discard(used);
      staged = null;
      context.stager().release(before.datasets());
      stage(Stager.unusable(jobId(), before, why.replace(dir + File.separator, "")));
    }
  }

  /** Goes no further; what is here stays until {@link #close}. */
  void halt() {
    phase = Phase.CLOSED;
    if (staging != null) {
      staging.cancel(true);
    }
  }

  /** Gives up, or back, what is here, the trainer too. */
  void close() {
    halt();
    if (staged != null) {
      context.stager().release(staged.datasets());
    }
    if (trainer != null) {
      trainer.kill();
      context.trainers().discard(trainer);
    }
  }
}
