package dev.baton.worker.daemon;

import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.Checkpoint;
import dev.baton.v1.CheckpointCommitted;
import dev.baton.v1.CheckpointNow;
import dev.baton.v1.DaemonMessage;
import dev.baton.v1.DamagedCheckpoint;
import dev.baton.v1.Deadline;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.Finished;
import dev.baton.v1.Go;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Prepared;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.Run;
import dev.baton.v1.SnapshotWritten;
import dev.baton.v1.StepProgress;
import dev.baton.v1.TrainerFailed;
import dev.baton.v1.TrainerMessage;
import dev.baton.worker.cache.Trees;
import dev.baton.worker.lease.HeldLease;
import dev.baton.worker.process.ExitClassifier;
import dev.baton.worker.process.StallWatch;
import dev.baton.worker.process.TrainerExit;
import dev.baton.worker.process.TrainerProcess;
import dev.baton.worker.process.TrainerSetting;
import java.io.File;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One job on this worker, from the first preparation to its end here. It is prepared (data,
 * checkpoint, a trainer with the state restored) with or without a lease; once there are both a
 * lease and a prepared trainer, it goes. Runs on the loop.
 */
final class JobRun implements TrainerProcess.Listener, AttemptOutbox.Listener {
  private static final Logger log = LoggerFactory.getLogger(JobRun.class);

  private static final long PROGRESS_NANOS = 200_000_000L;
  private static final long DUMP_NANOS = 1_000_000_000L;
  private static final long FAILED_EXIT_NANOS = 3_000_000_000L;

  private enum State {
    /** Data and checkpoint are being fetched. */
    STAGING,
    /** Data is here; that is all that was asked. */
    STAGED,
    /** A trainer loads and restores. */
    RESTORING,
    /** It waits for a lease. */
    PREPARED,
    TRAINING,
    /** Asked to stop at the next step; its last snapshot is on its way. */
    HANDING_OVER,
    /** The attempt has ended here; the coordinator is being told. */
    ENDING,
    OVER
  }

  /** Where the runs live. */
  interface Owner {
    /** Ready to go, without a lease. */
    void onPrepared(JobRun run);

    /** It will not be: it is over. */
    void onOver(JobRun run, String why);

    /** It has made its first step, or a later one. */
    void onStep(JobRun run);

    void report(ProgressReport report);
  }

  /** What runs share. */
  record Context(
      SpareTrainers trainers,
      Stager stager,
      Outboxes outboxes,
      dev.baton.worker.lease.Loop loop,
      java.util.concurrent.ExecutorService io,
      long stallNanos) {}

  /** Makes what tells the coordinator. */
  interface Outboxes {
    LogShipper logs(HeldLease lease, TrainerProcess trainer);

    AttemptOutbox outbox(
        HeldLease lease, Optional<LogShipper> logs, AttemptOutbox.Listener listener);
  }

  private final Context context;
  private final Owner owner;
  private final Assignment assignment;
  private final TrainerSetting setting;
  private final Path dir;
  private final StallWatch watch;

  private State state = State.STAGING;
  private @Nullable Future<?> staging;
  private Stager.@Nullable Staged staged;
  private @Nullable TrainerProcess trainer;
  private @Nullable Prepared prepared;
  private @Nullable HeldLease lease;
  private @Nullable LogShipper logs;
  private @Nullable AttemptOutbox outbox;
  private boolean begun;
  private boolean paused;
  private boolean stopSnapshot;
  private @Nullable String handOverReason;
  private @Nullable TrainerFailed failure;
  private @Nullable String stall;
  private @Nullable StepProgress progress;
  private long reportedNanos;
  private boolean reported;
  private boolean reportDue;

  JobRun(Context context, Owner owner, Assignment assignment, TrainerSetting setting, Path dir) {
    this.context = context;
    this.owner = owner;
    this.assignment = assignment;
    this.setting = setting;
    this.dir = dir;
    this.watch = new StallWatch(context.stallNanos(), context.loop().nanoTime());
  }

  /** Begins to prepare; with a lease, to go as soon as it is prepared. */
  void start(Optional<HeldLease> granted) {
    Optional<String> obstacle = Optional.empty();
    if (hasTrainer()) {
      try {
        trainer = context.trainers().acquire(setting, this);
      } catch (IOException e) {
        obstacle = Optional.of("no trainer can be started: " + e.getMessage());
      }
    }
    granted.ifPresent(this::grant);
    if (obstacle.isPresent()) {
      fail(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR, obstacle.get());
      return;
    }
    stage(List.of());
  }

  private void stage(List<DamagedCheckpoint> damaged) {
    state = State.STAGING;
    staging =
        context
            .io()
            .submit(
                () -> {
                  try {
                    Stager.Staged result = context.stager().stage(assignment, dir, damaged);
                    context.loop().execute(() -> onStaged(result));
                  } catch (IOException e) {
                    context.loop().execute(() -> onNotStaged(String.valueOf(e.getMessage())));
                  } catch (InterruptedException e) {
                    log.debug("job {}: staging given up", jobId());
                  } catch (RuntimeException e) {
                    log.error("job {}: a bug in staging", jobId(), e);
                    context.loop().execute(() -> onNotStaged(e.toString()));
                  }
                });
  }

  String jobId() {
    return assignment.getJobId();
  }

  TrainerSetting setting() {
    return setting;
  }

  /** Whether a trainer of its own belongs to it, or will. */
  boolean hasTrainer() {
    return !assignment.getStageOnly();
  }

  Optional<HeldLease> lease() {
    return Optional.ofNullable(lease);
  }

  boolean isPrepared() {
    return state == State.PREPARED;
  }

  /** Whether a trainer is on its way, and the machine better left alone. */
  boolean isStarting() {
    return state == State.STAGING || state == State.RESTORING || (lease != null && !reported);
  }

  /** Whether what was prepared is what this offer or preparation wants. */
  boolean fits(Assignment wanted) {
    return state != State.OVER
        && state != State.ENDING
        && assignment.getSpecDigest().equals(wanted.getSpecDigest())
        && assignment.getSpec().equals(wanted.getSpec())
        && assignment.getDatasetsList().equals(wanted.getDatasetsList())
        && assignment.getStageOnly() == wanted.getStageOnly()
        && assignment.getWorldSize() == wanted.getWorldSize()
        && assignment.getGroup().equals(wanted.getGroup())
        && (wanted.getStageOnly() || newest(assignment).equals(newest(wanted)));
  }

  private static String newest(Assignment assignment) {
    return assignment.getCheckpointsList().stream()
        .findFirst()
        .map(Checkpoint::getCheckpointId)
        .orElse("");
  }

  /** There is a lease: goes as soon as it is prepared. */
  void grant(HeldLease granted) {
    lease = granted;
    if (state == State.PREPARED) {
      go();
    }
  }

  /** The lease counts for longer. */
  void onRenewed() {
    HeldLease held = lease;
    if (held == null || trainer == null) {
      return;
    }
    if (state == State.TRAINING || state == State.HANDING_OVER) {
      trainer.send(
          DaemonMessage.newBuilder()
              .setDeadline(Deadline.newBuilder().setDeadlineNanos(held.deadlineNanos()))
              .build());
      if (paused) {
        paused = false;
        log.info("{}: goes on", held);
        watch.restart(context.loop().nanoTime());
      }
    }
  }

  /** A session stands again: says how far it is. */
  void onWelcome() {
    if (reported) {
      reportNow();
    }
  }

  /** Takes a checkpoint, gives the lease back with it, and is over. */
  void handOver(String reason) {
    HeldLease held = lease;
    if (held == null) {
      drop("no longer to be prepared");
      return;
    }
    if (handOverReason != null || state == State.ENDING || state == State.OVER) {
      return;
    }
    handOverReason = reason;
    log.info("{}: to be handed over ({})", held, reason);
    if (state != State.TRAINING) {
      // No step was made: what there is, the next one has too.
      end(ending(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED, reason));
      return;
    }
    state = State.HANDING_OVER;
    watch.restart(context.loop().nanoTime());
    checkpoint(true);
  }

  /** Takes a checkpoint and goes on. */
  void checkpointNow() {
    if (state == State.TRAINING) {
      checkpoint(false);
    }
  }

  private void checkpoint(boolean stop) {
    if (trainer != null) {
      trainer.send(
          DaemonMessage.newBuilder()
              .setCheckpointNow(CheckpointNow.newBuilder().setStop(stop))
              .build());
    }
  }

  /** Stops at once and leaves nothing; the lease, if there was one, is over. */
  void drop(String why) {
    if (state == State.OVER) {
      return;
    }
    if (lease != null) {
      lease.end();
      log.info("{}: dropped ({})", lease, why);
    }
    over(why);
  }

  /** To be called once a second: pauses and stalls. */
  void check() {
    HeldLease held = lease;
    if (held == null || trainer == null) {
      return;
    }
    boolean shouldStep = state == State.TRAINING || (state == State.HANDING_OVER && !stopSnapshot);
    if (!shouldStep || stall != null || failure != null) {
      return;
    }
    long now = context.loop().nanoTime();
    if (held.expired()) {
      if (!paused) {
        paused = true;
        log.warn("{}: the coordinator does not answer; paused until it does", held);
      }
      watch.restart(now);
      return;
    }
    if (watch.stalled(now)) {
      stalled();
    }
  }

  private void stalled() {
    TrainerProcess stuck = trainer;
    if (stuck == null) {
      return;
    }
    String message =
        String.format(
            Locale.ROOT,
            "no step for %.0f s (the median step takes %.3f s); the log ends with the trainer's stacks",
            watch.limitNanos() / 1e9,
            watch.medianNanos() / 1e9);
    stall = message;
    log.error("{}: {}", lease, message);
    stuck.dumpStacks();
    context.loop().schedule(DUMP_NANOS, stuck::kill);
  }

  private void onStaged(Stager.Staged result) {
    if (state != State.STAGING) {
      context.stager().release(result.datasets());
      return;
    }
    staged = result;
    TrainerProcess mine = trainer;
    if (mine == null) {
      state = State.STAGED;
      log.info("job {}: data staged", jobId());
      return;
    }
    state = State.RESTORING;
    Run.Builder run =
        Run.newBuilder()
            .setJobId(jobId())
            .setSpec(assignment.getSpec())
            .setSpecDigest(assignment.getSpecDigest())
            .addAllDatasets(result.datasets())
            .setRank(lease == null ? 0 : lease.ref().getRank())
            .setWorldSize(Math.max(1, assignment.getWorldSize()))
            .setGroup(assignment.getGroup())
            .setAttemptDir(dir.resolve("attempt").toString())
            .setDecodedDir(context.stager().decodedDir().toString())
            .setDevice(setting.device());
    result.checkpointFile().ifPresent(file -> run.setCheckpointFile(file.toString()));
    mine.send(DaemonMessage.newBuilder().setRun(run).build());
  }

  private void onNotStaged(String why) {
    if (state == State.STAGING) {
      fail(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR, "the job's data cannot be had: " + why);
    }
  }

  @Override
  public void onMessage(TrainerMessage message) {
    if (state == State.OVER || state == State.ENDING) {
      return;
    }
    switch (message.getMessageCase()) {
      case PREPARED -> onPrepared(message.getPrepared());
      case PROGRESS -> onProgress(message.getProgress());
      case SNAPSHOT -> onSnapshot(message.getSnapshot());
      case FINISHED -> onFinished(message.getFinished());
      case FAILED -> onFailed(message.getFailed());
      case READY, MESSAGE_NOT_SET ->
          log.debug("job {}: the trainer says {}", jobId(), message.getMessageCase());
    }
  }

  private void onPrepared(Prepared what) {
    if (state != State.RESTORING || failure != null) {
      return;
    }
    long wanted = staged == null ? 0 : staged.checkpoint().map(Checkpoint::getStep).orElse(0L);
    if (what.getResumedStep() != wanted) {
      failure =
          TrainerFailed.newBuilder()
              .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR)
              .setMessage(
                  "it holds the state of step " + what.getResumedStep() + ", not of step " + wanted)
              .setUnusableCheckpoint(true)
              .build();
      if (trainer != null) {
        trainer.kill();
      }
      return;
    }
    prepared = what;
    state = State.PREPARED;
    log.info("job {}: prepared at step {}", jobId(), what.getResumedStep());
    if (lease != null) {
      go();
    } else {
      owner.onPrepared(this);
    }
  }

  // Nothing may stand between the grant and this: it is what a job waits for that lost its worker.
  private void go() {
    HeldLease held = lease;
    if (held == null || trainer == null || prepared == null || staged == null) {
      throw new IllegalStateException("job " + jobId() + " goes without what it needs");
    }
    state = State.TRAINING;
    AttemptOutbox telling = openOutbox(held);
    BeginAttemptRequest.Builder begin =
        BeginAttemptRequest.newBuilder()
            .setLease(held.ref())
            .setResumedStep(prepared.getResumedStep())
            .setKind(prepared.getKind())
            .setTotalSteps(prepared.getTotalSteps())
            .addAllDamaged(staged.damaged());
    staged.checkpoint().ifPresent(c -> begin.setCheckpointId(c.getCheckpointId()));
    // Sent before the first step is made; its reports wait for the answer.
    telling.begin(begin.build());
    trainer.send(
        DaemonMessage.newBuilder()
            .setGo(Go.newBuilder().setDeadlineNanos(held.deadlineNanos()))
            .build());
    watch.restart(context.loop().nanoTime());
    log.info("{}: trains from step {} on", held, prepared.getResumedStep() + 1);
  }

  // Only now is it certain which trainer's log the attempt has.
  private AttemptOutbox openOutbox(HeldLease held) {
    AttemptOutbox opened = outbox;
    if (opened == null) {
      if (trainer != null) {
        logs = context.outboxes().logs(held, trainer);
        logs.start();
      }
      opened = context.outboxes().outbox(held, Optional.ofNullable(logs), this);
      outbox = opened;
    }
    return opened;
  }

  private void onProgress(StepProgress what) {
    if (state != State.TRAINING && state != State.HANDING_OVER) {
      return;
    }
    progress = what;
    watch.report(
        what.getProgress().getStep(),
        what.getProgress().getPhase().isEmpty(),
        context.loop().nanoTime());
    if (!begun || reportDue) {
      return;
    }
    long since = context.loop().nanoTime() - reportedNanos;
    if (!reported || since >= PROGRESS_NANOS) {
      reportNow();
    } else {
      reportDue = true;
      context
          .loop()
          .schedule(
              PROGRESS_NANOS - since,
              () -> {
                reportDue = false;
                if (state != State.OVER) {
                  reportNow();
                }
              });
    }
  }

  private void reportNow() {
    if (lease == null || progress == null) {
      return;
    }
    reportedNanos = context.loop().nanoTime();
    reported = true;
    owner.report(
        ProgressReport.newBuilder()
            .setLease(lease.ref())
            .setProgress(progress.getProgress())
            .setFirstStep(progress.getFirstStep())
            .build());
    owner.onStep(this);
  }

  private void onSnapshot(SnapshotWritten what) {
    if (outbox == null || (state != State.TRAINING && state != State.HANDING_OVER)) {
      return;
    }
    stopSnapshot |= what.getStopped();
    outbox.snapshot(
        new Snapshot(
            what.getStep(), Path.of(what.getFile()), what.getPointsList(), what.getStopped()),
        handOverReason == null ? "handed over" : handOverReason);
  }

  private void onFinished(Finished what) {
    if (state != State.TRAINING && state != State.HANDING_OVER) {
      return;
    }
    Map<String, Path> artifacts = new LinkedHashMap<>();
    Path attempt = dir.resolve("attempt");
    what.getArtifactsList().forEach(name -> artifacts.put(name, attempt.resolve(name)));
    FinishAttemptRequest request =
        FinishAttemptRequest.newBuilder()
            .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED)
            .setResult(what.getResult())
            .setLastStep(what.getStep())
            .build();
    log.info("{}: trained, {} steps", lease, what.getStep());
    end(new AttemptOutbox.Ending(request, artifacts, what.getPointsList(), trainerExit()));
  }

  private void onFailed(TrainerFailed what) {
    failure = what;
    TrainerProcess failing = trainer;
    if (failing != null) {
      // It exits by itself, when it has printed everything.
      context.loop().schedule(FAILED_EXIT_NANOS, failing::kill);
    }
  }

  @Override
  public void onExit(TrainerExit exit) {
    if (state == State.OVER || state == State.ENDING || stopSnapshot) {
      return;
    }
    if (failure != null && failure.getUnusableCheckpoint() && state == State.RESTORING) {
      restoreOlder(failure.getMessage());
    } else if (failure != null) {
      fail(failure.getOutcome(), failure.getMessage());
    } else if (stall != null) {
      fail(AttemptOutcome.ATTEMPT_OUTCOME_STALLED, stall);
    } else {
      ExitClassifier.Verdict verdict = ExitClassifier.classify(exit);
      fail(verdict.outcome(), verdict.message());
    }
  }

  // With a new trainer, since each prepares once; a lease goes on.
  private void restoreOlder(String why) {
    Stager.Staged before = staged;
    TrainerProcess used = trainer;
    if (before == null || before.checkpoint().isEmpty() || used == null) {
      fail(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR, why);
      return;
    }
    TrainerProcess next;
    try {
      next = context.trainers().acquire(setting, this);
    } catch (IOException e) {
      fail(
          AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR,
          "no trainer can be started: " + e.getMessage());
      return;
    }
    context.trainers().discard(used);
    trainer = next;
    failure = null;
    staged = null;
    context.stager().release(before.datasets());
    stage(Stager.unusable(jobId(), before, why.replace(dir + File.separator, "")));
  }

  private void fail(AttemptOutcome outcome, String message) {
    if (lease == null) {
      log.warn("job {}: preparation failed: {}", jobId(), message);
      over("preparation failed: " + message);
      return;
    }
    log.warn("{}: {}: {}", lease, outcome, message);
    end(ending(outcome, message));
  }

  private AttemptOutbox.Ending ending(AttemptOutcome outcome, String message) {
    long last = progress != null ? progress.getProgress().getStep() : resumedStep();
    return new AttemptOutbox.Ending(
        FinishAttemptRequest.newBuilder()
            .setOutcome(outcome)
            .setMessage(message)
            .setLastStep(last)
            .build(),
        Map.of(),
        List.<MetricPoint>of(),
        CompletableFuture.completedFuture(null));
  }

  private long resumedStep() {
    return prepared == null ? 0 : prepared.getResumedStep();
  }

  private void end(AttemptOutbox.Ending ending) {
    if (lease == null) {
      throw new IllegalStateException("job " + jobId() + " ends without a lease");
    }
    state = State.ENDING;
    openOutbox(lease).end(ending);
  }

  private Future<?> trainerExit() {
    return trainer == null ? CompletableFuture.completedFuture(null) : trainer.exit();
  }

  @Override
  public void onBegun() {
    begun = true;
    if (progress != null && !reported && state != State.OVER) {
      reportNow();
    }
  }

  @Override
  public void onCommitted(long step) {
    if (trainer != null) {
      trainer.send(
          DaemonMessage.newBuilder()
              .setCheckpointCommitted(CheckpointCommitted.newBuilder().setStep(step))
              .build());
    }
  }

  @Override
  public void onEnded(String how) {
    if (state != State.OVER) {
      log.info("{}: {}", lease, how);
      if (lease != null) {
        lease.end();
      }
      over(how);
    }
  }

  @Override
  public void onTermOver(String why) {
    drop(why);
  }

  private void over(String why) {
    state = State.OVER;
    if (staging != null) {
      staging.cancel(true);
    }
    if (outbox != null) {
      outbox.stop();
    }
    if (logs != null) {
      logs.stop();
    }
    if (staged != null) {
      context.stager().release(staged.datasets());
    }
    TrainerProcess ended = trainer;
    if (ended != null) {
      ended.kill();
      context.trainers().discard(ended);
    }
    var unused =
        CompletableFuture.completedFuture(ended)
            .thenCompose(t -> t == null ? CompletableFuture.completedFuture(null) : t.exit())
            .thenRunAsync(this::deleteDir, context.io());
    owner.onOver(this, why);
  }

  private void deleteDir() {
    try {
      Trees.delete(dir);
    } catch (IOException e) {
      log.warn("{} cannot be deleted: {}", dir, e.getMessage());
    }
  }
}
