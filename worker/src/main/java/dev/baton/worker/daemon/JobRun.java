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
import dev.baton.v1.GroupReady;
import dev.baton.v1.Halt;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Prepared;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.SnapshotGivenUp;
import dev.baton.v1.SnapshotWritten;
import dev.baton.v1.StepProgress;
import dev.baton.v1.TrainerFailed;
import dev.baton.v1.TrainerGroupBroken;
import dev.baton.v1.TrainerGroupFormed;
import dev.baton.v1.TrainerMessage;
import dev.baton.v1.WorkerMessage;
import dev.baton.worker.cache.Trees;
import dev.baton.worker.config.PortRange;
import dev.baton.worker.lease.HeldLease;
import dev.baton.worker.lease.Loop;
import dev.baton.worker.process.ExitClassifier;
import dev.baton.worker.process.TrainerExit;
import dev.baton.worker.process.TrainerProcess;
import dev.baton.worker.process.TrainerSetting;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One rank of a job on this worker, from the first preparation to its end here. It is prepared
 * (data, checkpoint, a trainer with the state restored) with or without a lease; once there are
 * both a lease and a prepared trainer, it goes: at once, or where the job may have several replicas
 * once the group of its term stands. Such a trainer keeps its state from term to term. Runs on the
 * loop.
 */
final class JobRun implements TrainerProcess.Listener {
  private static final Logger log = LoggerFactory.getLogger(JobRun.class);

  private static final long FAILED_EXIT_NANOS = 3_000_000_000L;
  // The other ranks wait for the news of this one's end.
  private static final Duration LAST_LINES = Duration.ofMillis(50);
  private static final long RELEASE_NANOS = 5_000_000_000L;
  private static final int RELEASE_CHECKS = 6;

  private enum State {
    /** The {@link Preparation} is under way, or all of it is done that was asked for. */
    PREPARING,
    /** It waits for a lease. */
    PREPARED,
    /** No group stands: the trainer comes to that of this term, or waits for the next term. */
    JOINING,
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

    /** Tells the coordinator, where a session stands. */
    void say(WorkerMessage message);

    /** Ends a lease whose run is dropped for a reason that the coordinator does not know. */
    void giveBack(HeldLease lease, AttemptOutcome outcome, String why);

    /** Has the coordinator say which leases still stand. */
    void askForLeases();
  }

  /**
   * What runs share.
   *
   * @param storePorts where rank 0 of a gang may listen
   */
  record Context(
      SpareTrainers trainers,
      Stager stager,
      Outboxes outboxes,
      Loop loop,
      ExecutorService io,
      PortRange storePorts,
      long stallNanos) {}

  private final Context context;
  private final Owner owner;
  private final Assignment assignment;
  private final TrainerSetting setting;
  private final Path dir;
  private final Preparation preparation;
  private final Watchdog watchdog;

  private State state = State.PREPARING;
  private @Nullable Attempt attempt;
  // Whether its state is more than what was restored: it has been part of a group.
  private boolean trained;
  private long logFrom;
  private @Nullable TrainerFailed failure;
  private @Nullable TrainerGroupFormed formed;
  private @Nullable LastWord lastWord;

  /**
   * What an attempt whose trainer has ended has to tell the coordinator.
   *
   * @param ofRankZero whether it stores something, which rank 0 alone may
   */
  private record LastWord(boolean ofRankZero, Consumer<Attempt> tell) {}

  JobRun(Context context, Owner owner, Assignment assignment, TrainerSetting setting, Path dir) {
    this.context = context;
    this.owner = owner;
    this.assignment = assignment;
    this.setting = setting;
    this.dir = dir;
    this.preparation = new Preparation(context, this, assignment, setting, dir);
    this.watchdog = new Watchdog(context.loop(), context.stallNanos());
  }

  /** Begins to prepare; with a lease, to go as soon as it is prepared. */
  void start() {
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
    return Optional.ofNullable(attempt).map(Attempt::lease);
  }

  boolean isPrepared() {
    return state == State.PREPARED;
  }

  /** Whether a trainer is on its way, and the machine better left alone. */
  boolean isStarting() {
    return (state == State.PREPARING && preparation.isUnderWay())
        || (attempt != null && !attempt.reported());
  }

  /**
   * Whether what was prepared is what this offer or preparation wants; which rank it will be, in
   * which group, makes no difference.
   */
  boolean fits(Assignment wanted) {
    return state != State.OVER
        && state != State.ENDING
        && assignment.getSpecDigest().equals(wanted.getSpecDigest())
        && assignment.getSpec().equals(wanted.getSpec())
        && assignment.getDatasetsList().equals(wanted.getDatasetsList())
        && assignment.getStageOnly() == wanted.getStageOnly()
        && assignment.getJoins() == wanted.getJoins()
        && (wanted.getStageOnly()
            || wanted.getJoins()
            || newest(assignment).equals(newest(wanted)));
  }

  private static String newest(Assignment assignment) {
    return assignment.getCheckpointsList().stream()
        .findFirst()
        .map(Checkpoint::getCheckpointId)
        .orElse("");
  }

  /** There is a lease: goes as soon as it is prepared. */
  void grant(HeldLease granted, Assignment offered) {
    Attempt first = newAttempt(granted, offered, false);
    attempt = first;
    if (state == State.PREPARED) {
      go(first);
    }
  }

  /**
   * A lease follows the one that it has: the trainer goes on under it, with its state. Where it has
   * ended, what that has to tell is told under it.
   *
   * @return false where neither is possible
   */
  boolean carryOn(HeldLease next, Assignment offered) {
    Attempt before = attempt;
    LastWord last = lastWord;
    if (before == null
        || state == State.OVER
        || offered.getGroup().isEmpty()
        || (last != null && last.ofRankZero() && next.ref().getRank() > 0)) {
      return false;
    }
    Optional<Long> shipped = before.close();
    if (before.rank() == 0) {
      logFrom = shipped.orElse(logFrom);
    } else {
      // What other ranks printed is in no log; should this one be rank 0 now, its log begins here.
      logFrom = preparation.trainer().map(trainer -> trainer.output().bytes()).orElse(0L);
    }
    Attempt now = newAttempt(next, offered, true);
    attempt = now;
    if (last != null) {
      log.info("{}: told again what term {} ended with", next, before.lease().ref().getTerm());
      before.handOverReason().ifPresent(now::handOver);
      now.beginsAt(before.lastStep());
      last.tell().accept(now);
    } else if (state != State.PREPARING && failure == null) {
      state = State.JOINING;
      // Where the group has grown nobody is lost, and the step that is under way counts.
      join(now, now.worldSize() <= before.worldSize());
      onRenewed();
    }
    return true;
  }

  private Attempt newAttempt(HeldLease lease, Assignment offered, boolean continued) {
    AttemptEvents events = new AttemptEvents();
    Attempt created =
        new Attempt(
            context,
            lease,
            offered,
            continued,
            new Attempt.Ends(
                context.outboxes(),
                events,
                message -> send(message.toBuilder()),
                owner::say,
                this::report));
    events.attempt = created;
    return created;
  }

  private static void join(Attempt member, boolean abandon) {
    member.group().ifPresent(group -> group.join(abandon));
  }

  /** The lease counts for longer. */
  void onRenewed() {
    Attempt mine = attempt;
    if (mine != null && isUnderWay()) {
      send(
          DaemonMessage.newBuilder()
              .setDeadline(Deadline.newBuilder().setDeadlineNanos(mine.lease().deadlineNanos())));
      watchdog.renewed(mine.lease());
    }
  }

  /** A session stands again: says how far it is. */
  void onWelcome() {
    if (attempt != null) {
      attempt.again();
    }
  }

  /** Every rank of its term waits. */
  void onGroupReady(GroupReady ready) {
    if (attempt != null && state == State.JOINING) {
      attempt.group().ifPresent(group -> group.onReady(ready));
    }
  }

  /** Takes a checkpoint, gives the lease back with it, and is over. */
  void handOver(String reason) {
    Attempt mine = attempt;
    if (mine == null) {
      drop("no longer to be prepared");
      return;
    }
    if (mine.handOverReason().isPresent() || state == State.ENDING || state == State.OVER) {
      return;
    }
    mine.handOver(reason);
    log.info("{}: to be handed over ({})", mine.lease(), reason);
    if (!trained) {
      // No step was made: what there is, the next one has too.
      end(mine, AttemptOutcome.ATTEMPT_OUTCOME_RELEASED, reason, mine.inGang());
    } else if (state == State.TRAINING && mine.rank() == 0) {
      stopAtNextStep();
    } else {
      releaseUnlessTaken(mine, reason, mine.lastStep(), RELEASE_CHECKS);
    }
  }

  private void stopAtNextStep() {
    state = State.HANDING_OVER;
    watchdog.restart();
    checkpoint(true);
  }

  // A place in a gang is the coordinator's to take away: the others go on without it, or rank 0
  // hands the job over first, while which no step is made. Where nothing of that happens it is
  // given back.
  private void releaseUnlessTaken(Attempt mine, String reason, long stepThen, int checksLeft) {
    context
        .loop()
        .schedule(
            RELEASE_NANOS,
            () -> {
              if (attempt != mine || (state != State.JOINING && state != State.TRAINING)) {
                return;
              }
              boolean goesOn = state == State.TRAINING && mine.lastStep() > stepThen;
              if (goesOn || checksLeft <= 1) {
                end(mine, AttemptOutcome.ATTEMPT_OUTCOME_RELEASED, reason, true);
              } else {
                releaseUnlessTaken(mine, reason, mine.lastStep(), checksLeft - 1);
              }
            });
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

  /** A checkpoint of that step is committed, by this worker or by another that holds rank 0. */
  void onCommitted(long step) {
    if (isUnderWay()) {
      send(
          DaemonMessage.newBuilder()
              .setCheckpointCommitted(CheckpointCommitted.newBuilder().setStep(step)));
    }
  }

  private void onGivenUp(long step) {
    if (isUnderWay()) {
      send(
          DaemonMessage.newBuilder()
              .setSnapshotGivenUp(SnapshotGivenUp.newBuilder().setStep(step)));
    }
  }

  // Whether the trainer has been told to go.
  private boolean isUnderWay() {
    return state == State.JOINING || state == State.TRAINING || state == State.HANDING_OVER;
  }

  private void send(DaemonMessage.Builder message) {
    preparation.trainer().ifPresent(trainer -> trainer.send(message.build()));
  }

  /** Stops at once and leaves nothing; the lease, if there was one, is over. */
  void drop(String why) {
    if (state == State.OVER) {
      return;
    }
    lease().ifPresent(lease -> log.info("{}: dropped ({})", lease, why));
    over(why);
  }

  /** To be called once a second: pauses and stalls. */
  void check() {
    Attempt mine = attempt;
    if (mine != null && isUnderWay() && failure == null && !mine.stopped()) {
      // Who waits for others does not stall: collectives have a limit of their own.
      boolean alone = state != State.JOINING && !mine.inGang();
      preparation.trainer().ifPresent(trainer -> watchdog.check(mine.lease(), trainer, alone));
    }
  }

  /** The {@link Preparation} has failed. */
  void onUnprepared(AttemptOutcome outcome, String message) {
    fail(outcome, message, false);
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
      case GROUP_WAITING -> group().ifPresent(group -> group.onWaiting(message.getGroupWaiting()));
      case GROUP_FORMED -> onGroupFormed(message.getGroupFormed());
      case GROUP_BROKEN -> onGroupBroken(message.getGroupBroken());
      case READY, MESSAGE_NOT_SET ->
          log.debug("job {}: the trainer says {}", jobId(), message.getMessageCase());
    }
  }

  private Optional<GroupMember> group() {
    return Optional.ofNullable(attempt).flatMap(Attempt::group);
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
    if (attempt != null) {
      go(attempt);
    } else {
      owner.onPrepared(this);
    }
  }

  // Nothing may stand between the grant and this: it is what a job waits for that lost its worker.
  private void go(Attempt mine) {
    mine.beginsAt(preparation.resumedStep());
    if (mine.group().isPresent()) {
      state = State.JOINING;
      join(mine, false);
    } else {
      state = State.TRAINING;
      trained = true;
      // Sent before the first step is made; its reports wait for the answer.
      mine.begin(preparation.trainer(), logFrom, preparation.beginning());
    }
    send(
        DaemonMessage.newBuilder()
            .setGo(Go.newBuilder().setDeadlineNanos(mine.lease().deadlineNanos())));
    watchdog.restart();
    if (state == State.TRAINING) {
      log.info("{}: trains from step {} on", mine.lease(), preparation.resumedStep() + 1);
    }
  }

  private void onGroupFormed(TrainerGroupFormed what) {
    Attempt mine = attempt;
    if (mine == null
        || state != State.JOINING
        || !mine.group().map(group -> group.onFormed(what)).orElse(false)) {
      return;
    }
    state = State.TRAINING;
    formed = what;
    mine.beginsAt(what.getStep());
    watchdog.restart();
    if (mine.rank() == 0) {
      mine.begin(
          preparation.trainer(), logFrom, preparation.beginning(what, trained, mine.continued()));
    } else {
      mine.begun();
    }
    trained = true;
    log.info(
        "{}: trains from step {} on, as rank {} of {}",
        mine.lease(),
        what.getStep() + 1,
        mine.rank(),
        mine.worldSize());
    if (mine.rank() == 0 && mine.handOverReason().isPresent()) {
      stopAtNextStep();
    }
  }

  private void onGroupBroken(TrainerGroupBroken what) {
    if (group().map(group -> group.onBroken(what)).orElse(false) && state == State.TRAINING) {
      state = State.JOINING;
    }
  }

  private void onProgress(StepProgress what) {
    if (attempt == null || (state != State.TRAINING && state != State.HANDING_OVER)) {
      return;
    }
    watchdog.report(what.getProgress());
    StepProgress.Builder told = what.toBuilder();
    if (told.hasReplica()) {
      preparation
          .trainer()
          .flatMap(TrainerProcess::residentBytes)
          .ifPresent(bytes -> told.getReplicaBuilder().setMemoryBytes(bytes));
    }
    attempt.onProgress(told.build());
  }

  private void report(ProgressReport report) {
    owner.say(WorkerMessage.newBuilder().setProgress(report).build());
    owner.onStep(this);
  }

  private void onSnapshot(SnapshotWritten what) {
    Attempt mine = attempt;
    Path file = Path.of(what.getFile());
    Snapshot snapshot = new Snapshot(what.getStep(), file, what.getPointsList(), what.getStopped());
    if (mine != null && mine.snapshot(snapshot)) {
      if (snapshot.stopped()) {
        lastWord =
            new LastWord(
                true,
                next -> {
                  beginAfterTheEnd(next, snapshot.step());
                  var unused = next.snapshot(snapshot);
                });
      }
      return;
    }
    // Of an earlier term: the next one tells all points again.
    context.io().execute(() -> Trees.deleteOrWarn(file));
    if (what.getStopped() && mine != null) {
      end(
          mine,
          AttemptOutcome.ATTEMPT_OUTCOME_RELEASED,
          "it had been told to stop before its group stood",
          mine.inGang());
    }
  }

  private void onFinished(Finished what) {
    Attempt mine = attempt;
    if (mine == null
        || mine.rank() != 0
        || (state != State.TRAINING && state != State.HANDING_OVER)) {
      return;
    }
    Map<String, Path> artifacts = new LinkedHashMap<>();
    Path attemptDir = dir.resolve("attempt");
    what.getArtifactsList().forEach(name -> artifacts.put(name, attemptDir.resolve(name)));
    FinishAttemptRequest request =
        FinishAttemptRequest.newBuilder()
            .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED)
            .setResult(what.getResult())
            .setLastStep(what.getStep())
            .build();
    log.info("{}: trained, {} steps", mine.lease(), what.getStep());
    if (mine.group().isPresent()) {
      // It would wait for the next group.
      send(DaemonMessage.newBuilder().setHalt(Halt.getDefaultInstance()));
    }
    end(
        mine,
        new AttemptOutbox.Ending(
            request, artifacts, what.getPointsList(), trainerExit(), AttemptOutbox.UNHURRIED),
        false);
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
    if (state == State.OVER || state == State.ENDING || (attempt != null && attempt.stopped())) {
      return;
    }
    TrainerFailed told = failure;
    if (told != null && told.getUnusableCheckpoint() && state == State.PREPARING) {
      failure = null;
      logFrom = 0;
      preparation.restoreOlder(told.getMessage());
    } else if (told != null) {
      fail(told.getOutcome(), told.getMessage(), false);
    } else if (watchdog.stall().isPresent()) {
      fail(AttemptOutcome.ATTEMPT_OUTCOME_STALLED, watchdog.stall().get(), false);
    } else {
      ExitClassifier.Verdict verdict = ExitClassifier.classify(exit);
      fail(verdict.outcome(), verdict.message(), attempt != null && attempt.inGang());
    }
  }

  private void fail(AttemptOutcome outcome, String message, boolean atOnce) {
    Attempt mine = attempt;
    if (mine == null) {
      log.warn("job {}: preparation failed: {}", jobId(), message);
      over("preparation failed: " + message);
      return;
    }
    log.warn("{}: {}: {}", mine.lease(), outcome, message);
    end(mine, outcome, message, atOnce);
  }

  // At once: other ranks wait for this news. A snapshot that is on its way is of no use then, since
  // they have newer state in memory.
  private void end(Attempt mine, AttemptOutcome outcome, String message, boolean atOnce) {
    AttemptOutbox.Ending ending =
        new AttemptOutbox.Ending(
            FinishAttemptRequest.newBuilder()
                .setOutcome(outcome)
                .setMessage(message)
                .setLastStep(mine.lastStep())
                .build(),
            Map.of(),
            List.<MetricPoint>of(),
            CompletableFuture.completedFuture(null),
            atOnce ? LAST_LINES : AttemptOutbox.UNHURRIED);
    end(mine, ending, atOnce);
  }

  private void end(Attempt mine, AttemptOutbox.Ending ending, boolean atOnce) {
    state = State.ENDING;
    preparation.halt();
    boolean done = ending.request().getOutcome() == AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED;
    lastWord =
        new LastWord(
            done,
            next -> {
              if (done) {
                beginAfterTheEnd(next, ending.request().getLastStep());
              }
              next.end(preparation.trainer(), logFrom, ending, false);
            });
    mine.end(preparation.trainer(), logFrom, ending, atOnce);
  }

  // No group is waited for: the trainer has made its last step.
  private void beginAfterTheEnd(Attempt next, long step) {
    TrainerGroupFormed group =
        Objects.requireNonNull(formed, "a trainer of a gang that ended outside of any group");
    next.begin(
        preparation.trainer(),
        logFrom,
        preparation.beginning(group.toBuilder().setStep(step).build(), trained, next.continued()));
  }

  private CompletableFuture<?> trainerExit() {
    return preparation
        .trainer()
        .map(TrainerProcess::exit)
        .orElseGet(() -> CompletableFuture.completedFuture(null));
  }

  /** What becomes of one attempt; what an earlier one tells late no longer counts. */
  private final class AttemptEvents implements AttemptOutbox.Listener {
    private @Nullable Attempt attempt;

    @Override
    public void onBegun() {
      if (isCurrent() && attempt != null) {
        attempt.begun();
      }
    }

    @Override
    public void onCommitted(long step) {
      JobRun.this.onCommitted(step);
    }

    @Override
    public void onGivenUp(long step) {
      if (isCurrent()) {
        JobRun.this.onGivenUp(step);
      }
    }

    @Override
    public void onEnded(String how) {
      if (isCurrent()) {
        log.info("{}: {}", lease().map(Object::toString).orElse(jobId()), how);
        over(how);
      }
    }

    @Override
    public void onTermOver(String why) {
      if (!isCurrent()) {
        return;
      }
      if (group().isPresent() && attempt != null) {
        // The lease that follows it may be on its way, and continues with what is in memory, or
        // with what its end has to tell.
        attempt.closeOutbox();
        owner.askForLeases();
      } else {
        drop(why);
      }
    }

    @Override
    public void onRefused(AttemptOutcome outcome, String why) {
      if (isCurrent() && attempt != null) {
        owner.giveBack(attempt.lease(), outcome, why);
        drop(why);
      }
    }

    private boolean isCurrent() {
      return state != State.OVER && attempt == JobRun.this.attempt;
    }
  }

  private void over(String why) {
    state = State.OVER;
    if (attempt != null) {
      var unused = attempt.close();
    }
    preparation.close();
    var unused = trainerExit().thenRunAsync(() -> Trees.deleteOrWarn(dir), context.io());
    owner.onOver(this, why);
  }
}
