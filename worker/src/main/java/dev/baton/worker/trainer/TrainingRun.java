package dev.baton.worker.trainer;

import com.google.protobuf.InvalidProtocolBufferException;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.JoinGroup;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.RunMemory;
import dev.baton.v1.StepProgress;
import dev.baton.worker.checkpoint.RunState;
import dev.baton.worker.data.Batch;
import dev.baton.worker.data.BatchPlan;
import dev.baton.worker.data.Batches;
import dev.baton.worker.data.Replica;
import dev.baton.worker.trainer.Engine.Sums;
import dev.baton.worker.trainer.Engine.Totals;
import dev.baton.worker.trainer.EpochSummary.ClassCount;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * The step loop of one attempt. What it computes is a function of the job and the step alone: it
 * begins from a {@link RunState} as if it had made every step before itself, and can be stopped and
 * its state taken at any boundary between two steps or two batches of an evaluation. One thread
 * runs it.
 *
 * <p>A run of several replicas is a member of one group after the other. Where a group breaks, or
 * is followed by another, the state stays as it is after the last whole step; the members of the
 * next group agree on that of the one that is furthest, and go on from there. Every rank makes
 * every metric point; rank 0's alone leave the process.
 */
public final class TrainingRun {
  /** Points that one commit carries: some 40 bytes each, in a message of at most 4 MiB. */
  static final int MOST_POINTS = 50_000;

  /** How a run ended. */
  public enum End {
    /** Every step and the last evaluation are done. */
    FINISHED,
    /** A stop was asked for; the snapshot is taken. */
    STOPPED
  }

  /**
   * Where time comes from.
   *
   * @param nanos monotonic
   * @param millis since the epoch, for people
   */
  public record Time(LongSupplier nanos, LongSupplier millis) {}

  private static final String EVALUATING = "evaluating";

  /** What follows a step boundary. */
  private enum Then {
    GO_ON,
    STOP,
    REGROUP
  }

  private final Engine engine;
  private final TrainingData data;
  private final BatchPlan plan;
  private final int logEvery;
  private final TrainingControl control;
  private final Snapshots snapshots;
  private final TrainingListener listener;
  private final Time time;

  private final RunState start;
  private final @Nullable GroupForming forming;
  private final PointLog points = new PointLog();
  private Replica replica = Replica.ALONE;
  private ProgressMeter meter;
  private ReplicaMeter replicaMeter;
  private long step;
  private boolean epochEndDue;

  /**
   * Whether the engine's state is that after {@link #step}; else another replica has to give it.
   */
  private boolean whole;

  /** Clock time that counts for nothing: paused. */
  private long pausedNanos;

  private final Stopwatch logWindow;
  private final Stopwatch epochTime;
  private double logWaitCarried;
  private long logWaitFrom;
  private long waitedNanos;

  /** Of which for batches that are closed. */
  private long waitedBefore;

  private double lastLoss = Double.NaN;
  private long lastFiniteStep;
  private @Nullable EpochSummary lastEpoch;

  /**
   * A run that begins from a state; the engine's tensors are restored already.
   *
   * @param whole false where another replica gives the state when the first group is formed; {@code
   *     start} is the beginning then
   * @param logEvery steps between points of the training loss
   */
  public TrainingRun(
      Engine engine,
      TrainingData data,
      RunState start,
      boolean whole,
      int logEvery,
      TrainingControl control,
      Snapshots snapshots,
      TrainingListener listener,
      Time time) {
    if (logEvery < 1) {
      throw TrainingException.userError("training.log_every is " + logEvery + "; at least 1");
    }
    this.engine = engine;
    this.data = data;
    this.plan = data.plan();
    this.logEvery = logEvery;
    this.control = control;
    this.snapshots = snapshots;
    this.listener = listener;
    this.time = time;
    this.start = start;
    this.whole = whole;
    this.forming = control.inGroups() ? new GroupForming(engine, control, listener) : null;
    step = start.step();
    lastFiniteStep = step;
    epochEndDue = start.epochEndDue();
    logWaitCarried = start.logWaitSeconds();
    long now = activeNanos();
    logWindow = new Stopwatch(start.logSeconds(), now);
    epochTime = new Stopwatch(start.epochSeconds(), now);
    meter = new ProgressMeter(plan, step, now);
    replicaMeter = new ReplicaMeter(0, now);
  }

  /**
   * Trains to the end, or until a stop is asked for. On a rank other than 0 the end is not the end
   * of the run: it waits with its state in memory, since it may have to be rank 0 next.
   */
  public End run() throws InterruptedException {
    engine.set(Sums.LOG, start.log());
    engine.set(Sums.EPOCH, start.epochSums());
    while (true) {
      try {
        End end = trainInGroup();
        if (end != null) {
          return end;
        }
      } catch (GroupBrokenException e) {
        whole &= e.stateWhole();
        requireForming().broken(wholeStep(), e);
      }
    }
  }

  /** Trains in one group, or alone; null where another group is to be joined. */
  private @Nullable End trainInGroup() throws InterruptedException {
    if (forming != null) {
      joinGroup(forming);
    }
    waitedBefore = waitedNanos;
    try (Batches batches = data.train(step + 1, replica)) {
      while (true) {
        Then then = epochEndDue ? endEpoch() : Then.GO_ON;
        if (then == Then.GO_ON && step >= plan.totalSteps()) {
          report("");
          return replica.rank() == 0 ? End.FINISHED : null;
        }
        if (then == Then.GO_ON) {
          then = boundary();
        }
        if (then != Then.GO_ON) {
          return then == Then.STOP ? End.STOPPED : null;
        }
        trainStep(batches);
      }
    }
  }

  private GroupForming requireForming() {
    return Objects.requireNonNull(forming, "a run that trains alone");
  }

  /** Waits for the next group, and is a member of it when this returns. */
  private void joinGroup(GroupForming group) throws InterruptedException {
    long begin = time.nanos().getAsLong();
    JoinGroup join = control.awaitJoin();
    // Its steps are ahead of the next group's agreement, and its points come again.
    snapshots.forget();
    // A member that joins knows of no commit before: it is given no point of one.
    points.committed(control.committedStep());
    long position = position();
    Engine.Standing standing =
        group.form(
            join,
            wholeStep(),
            new Engine.Standing(position, memory(begin - pausedNanos).toByteString()));
    replica = new Replica(join.getRank(), join.getWorldSize());
    // Nobody trains meanwhile.
    pausedNanos += time.nanos().getAsLong() - begin;
    if (standing.position() != position) {
      takeOver(standing);
    }
    points.restart();
    meter = new ProgressMeter(plan, step, activeNanos());
    replicaMeter = new ReplicaMeter(replica.rank(), activeNanos());
    control.joined(join);
    listener.groupFormed(join, step);
  }

  /** How far this replica is: an epoch's end lies between two steps. */
  private long position() {
    return whole ? 2 * step + (epochEndDue ? 0 : 1) : -1;
  }

  private long wholeStep() {
    return whole ? step : -1;
  }

  private RunMemory memory(long now) {
    RunMemory.Builder memory =
        RunMemory.newBuilder()
            .setStep(step)
            .setEpochEndDue(epochEndDue)
            .setLogSeconds(logWindow.seconds(now))
            .setLogWaitSeconds(logWaitSeconds())
            .setEpochSeconds(epochTime.seconds(now))
            .addAllPoints(points.all());
    if (!Double.isNaN(lastLoss)) {
      memory.setLastLoss(lastLoss);
    }
    if (lastEpoch != null) {
      memory.setLastEpoch(lastEpoch.toMessage());
    }
    return memory.build();
  }

  private void takeOver(Engine.Standing standing) {
    RunMemory memory;
    try {
      memory = RunMemory.parseFrom(standing.memory());
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalStateException("a replica's run sent what is no RunMemory", e);
    }
    whole = true;
    step = memory.getStep();
    lastFiniteStep = step;
    epochEndDue = memory.getEpochEndDue();
    long now = activeNanos();
    logWindow.set(memory.getLogSeconds(), now);
    epochTime.set(memory.getEpochSeconds(), now);
    logWaitCarried = memory.getLogWaitSeconds();
    logWaitFrom = waitedNanos;
    lastLoss = memory.hasLastLoss() ? memory.getLastLoss() : Double.NaN;
    lastEpoch = memory.hasLastEpoch() ? EpochSummary.of(memory.getLastEpoch()) : null;
    points.replace(memory.getPointsList());
  }

  /** Steps completed, over all attempts. */
  public long step() {
    return step;
  }

  /**
   * Points that no snapshot has taken. In groups, all that no commit is known to have taken: the
   * term may be over before what was taken is committed.
   */
  public List<MetricPoint> points() {
    return forming == null ? points.peek() : points.all();
  }

  /** The last epoch that ended in this run. */
  public EpochSummary lastEpoch() {
    return Objects.requireNonNull(lastEpoch, "no epoch has ended");
  }

  private void trainStep(Batches batches) throws InterruptedException {
    Batch batch = batches.next();
    if (batch == null || batch.step() != step + 1) {
      throw new IllegalStateException(
          "step %d got %s"
              .formatted(step + 1, batch == null ? "no batch" : "that of " + batch.step()));
    }
    try {
      engine.trainStep(batch);
    } finally {
      replicaMeter.trained(batch.samples());
      batch.release();
    }
    step++;
    waitedNanos = waitedBefore + batches.waitedNanos();
    if (step % logEvery == 0) {
      logPoint();
    }
    epochEndDue = plan.endsEpoch(step) || step == plan.totalSteps();
    if (meter.due(step, activeNanos())) {
      report("");
    }
  }

  private void logPoint() {
    Totals log = readFinite(Sums.LOG);
    long now = activeNanos();
    double seconds = logWindow.seconds(now);
    double samplesPerSecond = log.samples() / seconds;
    double dataWait = Math.min(1, logWaitSeconds() / seconds);
    lastLoss = log.loss() / log.samples();
    point(PointLog.AFTER_STEP + "loss", lastLoss);
    point(PointLog.AFTER_STEP + "samples_per_second", samplesPerSecond);
    point(PointLog.AFTER_STEP + "data_wait", dataWait);
    listener.logged(step, lastLoss, samplesPerSecond, dataWait);
    engine.set(Sums.LOG, Totals.ZERO);
    logWindow.restart(now);
    logWaitCarried = 0;
    logWaitFrom = waitedNanos;
  }

  /** Evaluates, and makes the epoch's points, unless something else comes before that. */
  private Then endEpoch() throws InterruptedException {
    Totals train = readFinite(Sums.EPOCH);
    long begin = activeNanos();
    Totals eval = null;
    try (Batches batches = data.eval(replica)) {
      if (batches != null) {
        engine.set(Sums.EVAL, Totals.ZERO);
        while (true) {
          Then then = boundary();
          if (then != Then.GO_ON) {
            return then;
          }
          Batch batch = batches.next();
          if (batch == null) {
            break;
          }
          try {
            engine.evalBatch(batch);
          } finally {
            batch.release();
          }
          if (meter.due(step, activeNanos())) {
            report(EVALUATING);
          }
        }
        eval = engine.read(Sums.EVAL);
        if (!Double.isFinite(eval.loss())) {
          throw nan("the evaluation loss after step " + step);
        }
      }
    }
    long now = activeNanos();
    logWindow.exclude(now - begin);
    EpochSummary summary =
        new EpochSummary(
            plan.epochOf(step),
            step,
            train,
            eval,
            eval == null ? List.of() : byClass(),
            epochTime.seconds(now));
    boolean classifies = data.format().classes() > 0;
    point("epoch/train_loss", train.loss() / train.samples());
    if (classifies) {
      point("epoch/train_accuracy", train.correct() / train.samples());
    }
    point("epoch/seconds", summary.seconds());
    if (eval != null) {
      point("eval/loss", eval.loss() / eval.samples());
      if (classifies) {
        point("eval/accuracy", eval.correct() / eval.samples());
      }
    }
    listener.epochEnded(summary);
    lastEpoch = summary;
    engine.set(Sums.EPOCH, Totals.ZERO);
    epochTime.restart(now);
    epochEndDue = false;
    return Then.GO_ON;
  }

  private List<ClassCount> byClass() {
    return Arrays.stream(engine.evalByClass()).map(c -> new ClassCount(c[0], c[1])).toList();
  }

  /** Does what was asked for between two steps. */
  private Then boundary() throws InterruptedException {
    snapshots.throwFailure();
    points.committed(control.committedStep());
    while (true) {
      boolean full = points.fresh() >= mostPoints();
      switch (control.next(step, time.nanos().getAsLong(), full)) {
        case STEP -> {
          return Then.GO_ON;
        }
        case SNAPSHOT -> snapshot(false);
        case STOP -> {
          snapshot(true);
          return Then.STOP;
        }
        case JOIN -> {
          return Then.REGROUP;
        }
        case WAIT -> {
          long begin = time.nanos().getAsLong();
          report("paused");
          control.awaitPermission(step, full, time.nanos());
          pausedNanos += time.nanos().getAsLong() - begin;
        }
      }
    }
  }

  /** A new group's first commit carries those of a lost one, too. */
  private int mostPoints() {
    return forming == null ? MOST_POINTS : MOST_POINTS / 2;
  }

  private void snapshot(boolean stopped) throws InterruptedException {
    if (stopped && forming != null) {
      // The term may be over before what earlier snapshots have taken is committed.
      points.restart();
    }
    snapshots.take(engine, state(), points.take(), stopped);
    control.snapshotTaken(step);
  }

  private RunState state() {
    long now = activeNanos();
    return new RunState(
        start.specDigest(),
        engine.kind(),
        start.shards(),
        start.threads(),
        step,
        plan.epochOf(epochEndDue ? step : step + 1),
        plan.samplesThrough(step),
        epochEndDue,
        readFinite(Sums.LOG),
        logWindow.seconds(now),
        logWaitSeconds(),
        readFinite(Sums.EPOCH),
        epochTime.seconds(now));
  }

  private void report(String phase) {
    Totals log = readFinite(Sums.LOG);
    double loss = log.samples() > 0 ? log.loss() / log.samples() : lastLoss;
    long now = activeNanos();
    StepProgress.Builder progress =
        StepProgress.newBuilder()
            .setProgress(meter.report(step, loss, waitedNanos, phase, now))
            .setFirstStep(meter.firstStep());
    if (forming != null) {
      progress.setReplica(replicaMeter.report(engine.traffic(), now));
    }
    listener.progress(progress.build());
  }

  private Totals readFinite(Sums sums) {
    Totals totals = engine.read(sums);
    if (!Double.isFinite(totals.loss())) {
      throw nan(
          lastFiniteStep + 1 < step
              ? "the loss of a step from %d to %d".formatted(lastFiniteStep + 1, step)
              : "the loss of step " + step);
    }
    lastFiniteStep = step;
    return totals;
  }

  private static TrainingException nan(String what) {
    return new TrainingException(
        AttemptOutcome.ATTEMPT_OUTCOME_NAN_LOSS,
        what + " is NaN or infinite; a smaller learning rate may help");
  }

  private void point(String series, double value) {
    points.add(
        MetricPoint.newBuilder()
            .setSeries(series)
            .setStep(step)
            .setValue(value)
            .setTimeMs(time.millis().getAsLong())
            .build());
  }

  private double logWaitSeconds() {
    return logWaitCarried + (waitedNanos - logWaitFrom) / 1e9;
  }

  private long activeNanos() {
    return time.nanos().getAsLong() - pausedNanos;
  }

  /** Time since a beginning that may lie in an earlier attempt. */
  private static final class Stopwatch {
    private double carriedSeconds;
    private long fromNanos;

    Stopwatch(double carriedSeconds, long now) {
      this.carriedSeconds = carriedSeconds;
      this.fromNanos = now;
    }

    /** At least a nanosecond, so that rates stay finite. */
    double seconds(long now) {
      return Math.max(1e-9, carriedSeconds + (now - fromNanos) / 1e9);
    }

    void exclude(long nanos) {
      fromNanos += nanos;
    }

    void restart(long now) {
      set(0, now);
    }

    void set(double seconds, long now) {
      carriedSeconds = seconds;
      fromNanos = now;
    }
  }
}
