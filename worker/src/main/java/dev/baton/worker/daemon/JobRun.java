package dev.baton.worker.daemon;

import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.Checkpoint;
import dev.baton.v1.CheckpointCommitted;
import dev.baton.v1.CheckpointNow;
import dev.baton.v1.DaemonMessage;
import dev.baton.v1.Deadline;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.Finished;
import dev.baton.v1.Go;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Prepared;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.SnapshotWritten;
import dev.baton.v1.StepProgress;
import dev.baton.v1.TrainerFailed;
import dev.baton.v1.TrainerMessage;
import dev.baton.worker.cache.Trees;
import dev.baton.worker.lease.HeldLease;
import dev.baton.worker.process.ExitClassifier;
import dev.baton.worker.process.TrainerExit;
import dev.baton.worker.process.TrainerProcess;
import dev.baton.worker.process.TrainerSetting;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
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

  private static final long FAILED_EXIT_NANOS = 3_000_000_000L;

  private enum State {
    /** The {@link Preparation} is under way, or all of it is done that was asked for. */
    PREPARING,
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
  private final Preparation preparation;
  private final Watchdog watchdog;
  private final ProgressReporter progress;

  private State state = State.PREPARING;
  private @Nullable HeldLease lease;
  private @Nullable LogShipper logs;
  private @Nullable AttemptOutbox outbox;
  private boolean stopSnapshot;
  private @Nullable String handOverReason;
  private @Nullable TrainerFailed failure;

  JobRun(Context context, Owner owner, Assignment assignment, TrainerSetting setting, Path dir) {
    this.context = context;
    this.owner = owner;
    this.assignment = assignment;
    this.setting = setting;
    this.dir = dir;
    this.preparation = new Preparation(context, this, assignment, setting, dir);
    this.watchdog = new Watchdog(context.loop(), context.stallNanos());
    this.progress = new ProgressReporter(context.loop(), this::report);
  }

  /** Begins to prepare; with a lease, to go as soon as it is prepared. */
  void start(Optional<HeldLease> granted) {
    granted.ifPresent(this::grant);
    preparation.start();
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
    return (state == State.PREPARING && preparation.isUnderWay())
        || (lease != null && !progress.reported());
  }

  /** Whether what was prepared is what this offer or preparation wants. */
  boolean fits(Assignment wanted) {
    return state != State.OVER
        && state != State.ENDING
        && assignment.getSpecDigest().equals(wanted.getSpecDigest())
        && assignment.getSpec().equals(wanted.getSpec())
        && assignment.getDatasetsList().equals(wanted.getDatasetsList())
        && assignment.getStageOnly() == wanted.getStageOnly()
        && assignment.getJoins() == wanted.getJoins()
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
      go(granted);
    }
  }

  /** The lease counts for longer. */
  void onRenewed() {
    HeldLease held = lease;
    if (held != null && (state == State.TRAINING || state == State.HANDING_OVER)) {
      send(
          DaemonMessage.newBuilder()
              .setDeadline(Deadline.newBuilder().setDeadlineNanos(held.deadlineNanos())));
      watchdog.renewed(held);
    }
  }

  /** A session stands again: says how far it is. */
  void onWelcome() {
    progress.again();
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
    watchdog.restart();
    checkpoint(true);
  }

  /** Takes a checkpoint and goes on. */
  void checkpointNow() {
    if (state == State.TRAINING) {
      checkpoint(false);
    }
  }

  private void checkpoint(boolean stop) {
    send(DaemonMessage.newBuilder().setCheckpointNow(CheckpointNow.newBuilder().setStop(stop)));
  }

  private void send(DaemonMessage.Builder message) {
    preparation.trainer().ifPresent(trainer -> trainer.send(message.build()));
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
    boolean shouldStep = state == State.TRAINING || (state == State.HANDING_OVER && !stopSnapshot);
    if (held != null && shouldStep && failure == null) {
      preparation.trainer().ifPresent(trainer -> watchdog.check(held, trainer));
    }
  }

  /** The {@link Preparation} has failed. */
  void onUnprepared(AttemptOutcome outcome, String message) {
    fail(outcome, message);
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
      case READY, GROUP_WAITING, GROUP_FORMED, GROUP_BROKEN, MESSAGE_NOT_SET ->
          log.debug("job {}: the trainer says {}", jobId(), message.getMessageCase());
    }
  }

  private void onPrepared(Prepared what) {
    if (state != State.PREPARING || failure != null) {
      return;
    }
    Optional<TrainerFailed> wrong = preparation.restored(what);
    if (wrong.isPresent()) {
      failure = wrong.get();
      preparation.trainer().ifPresent(TrainerProcess::kill);
      return;
    }
    state = State.PREPARED;
    if (lease != null) {
      go(lease);
    } else {
      owner.onPrepared(this);
    }
  }

  // Nothing may stand between the grant and this: it is what a job waits for that lost its worker.
  private void go(HeldLease held) {
    state = State.TRAINING;
    // Sent before the first step is made; its reports wait for the answer.
    openOutbox(held).begin(preparation.beginning().setLease(held.ref()).build());
    send(DaemonMessage.newBuilder().setGo(Go.newBuilder().setDeadlineNanos(held.deadlineNanos())));
    watchdog.restart();
    log.info("{}: trains from step {} on", held, preparation.resumedStep() + 1);
  }

  // Only now is it certain which trainer's log the attempt has.
  private AttemptOutbox openOutbox(HeldLease held) {
    AttemptOutbox opened = outbox;
    if (opened == null) {
      Optional<LogShipper> shipper =
          preparation.trainer().map(trainer -> context.outboxes().logs(held, trainer));
      shipper.ifPresent(LogShipper::start);
      logs = shipper.orElse(null);
      opened = context.outboxes().outbox(held, shipper, this);
      outbox = opened;
    }
    return opened;
  }

  private void onProgress(StepProgress what) {
    if (state == State.TRAINING || state == State.HANDING_OVER) {
      watchdog.report(what.getProgress());
      progress.progress(what);
    }
  }

  private void report(ProgressReport report) {
    owner.report(report);
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
    // It exits by itself, when it has printed everything.
    preparation
        .trainer()
        .ifPresent(failing -> context.loop().schedule(FAILED_EXIT_NANOS, failing::kill));
  }

  @Override
  public void onExit(TrainerExit exit) {
    if (state == State.OVER || state == State.ENDING || stopSnapshot) {
      return;
    }
    TrainerFailed told = failure;
    if (told != null && told.getUnusableCheckpoint() && state == State.PREPARING) {
      failure = null;
      preparation.restoreOlder(told.getMessage());
    } else if (told != null) {
      fail(told.getOutcome(), told.getMessage());
    } else if (watchdog.stall().isPresent()) {
      fail(AttemptOutcome.ATTEMPT_OUTCOME_STALLED, watchdog.stall().get());
    } else {
      ExitClassifier.Verdict verdict = ExitClassifier.classify(exit);
      fail(verdict.outcome(), verdict.message());
    }
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
    return new AttemptOutbox.Ending(
        FinishAttemptRequest.newBuilder()
            .setOutcome(outcome)
            .setMessage(message)
            .setLastStep(progress.lastStep(preparation.resumedStep()))
            .build(),
        Map.of(),
        List.<MetricPoint>of(),
        CompletableFuture.completedFuture(null));
  }

  private void end(AttemptOutbox.Ending ending) {
    if (lease == null) {
      throw new IllegalStateException("job " + jobId() + " ends without a lease");
    }
    state = State.ENDING;
    preparation.halt();
    openOutbox(lease).end(ending);
  }

  private CompletableFuture<?> trainerExit() {
    return preparation
        .trainer()
        .map(TrainerProcess::exit)
        .orElseGet(() -> CompletableFuture.completedFuture(null));
  }

  @Override
  public void onBegun() {
    if (lease != null) {
      progress.begun(lease.ref());
    }
  }

  @Override
  public void onCommitted(long step) {
    send(
        DaemonMessage.newBuilder()
            .setCheckpointCommitted(CheckpointCommitted.newBuilder().setStep(step)));
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
    progress.close();
    if (outbox != null) {
      outbox.stop();
    }
    if (logs != null) {
      logs.stop();
    }
    preparation.close();
    var unused = trainerExit().thenRunAsync(this::deleteDir, context.io());
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
