package dev.baton.worker.trainer;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.MetricPoint;
import dev.baton.worker.checkpoint.RunState;
import dev.baton.worker.data.Batch;
import dev.baton.worker.data.BatchPlan;
import dev.baton.worker.data.Batches;
import dev.baton.worker.trainer.Engine.Sums;
import dev.baton.worker.trainer.Engine.Totals;
import dev.baton.worker.trainer.EpochSummary.ClassCount;
import java.util.ArrayList;
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

  private final Engine engine;
  private final TrainingData data;
  private final BatchPlan plan;
  private final int logEvery;
  private final TrainingControl control;
  private final Snapshots snapshots;
  private final TrainingListener listener;
  private final Time time;

  private final RunState start;
  private final ProgressMeter meter;
  private final List<MetricPoint> points = new ArrayList<>();
  private long step;
  private boolean epochEndDue;

  /** Clock time that counts for nothing: paused. */
  private long pausedNanos;

  private final Stopwatch logWindow;
  private final Stopwatch epochTime;
  private double logWaitCarried;
  private long logWaitFrom;
  private long waitedNanos;
  private double lastLoss = Double.NaN;
  private long lastFiniteStep;
  private @Nullable EpochSummary lastEpoch;

  /**
   * A run that begins from a state; the engine's tensors are restored already.
   *
   * @param logEvery steps between points of the training loss
   */
  public TrainingRun(
      Engine engine,
      TrainingData data,
      RunState start,
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
    step = start.step();
    lastFiniteStep = step;
    epochEndDue = start.epochEndDue();
    logWaitCarried = start.logWaitSeconds();
    long now = activeNanos();
    logWindow = new Stopwatch(start.logSeconds(), now);
    epochTime = new Stopwatch(start.epochSeconds(), now);
    meter = new ProgressMeter(plan, step, now);
  }

  /** Trains to the end, or until a stop is asked for. */
  public End run() throws InterruptedException {
    engine.set(Sums.LOG, start.log());
    engine.set(Sums.EPOCH, start.epochSums());
    try (Batches batches = data.train(step + 1)) {
      while (true) {
        if (epochEndDue && !endEpoch()) {
          return End.STOPPED;
        }
        if (step >= plan.totalSteps()) {
          report("");
          return End.FINISHED;
        }
        if (!boundary()) {
          return End.STOPPED;
        }
        trainStep(batches);
      }
    }
  }

  /** Steps completed, over all attempts. */
  public long step() {
    return step;
  }

  /** Points since the last snapshot. */
  public List<MetricPoint> points() {
    return List.copyOf(points);
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
      batch.release();
    }
    step++;
    waitedNanos = batches.waitedNanos();
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
    point("train/loss", lastLoss);
    point("train/samples_per_second", samplesPerSecond);
    point("train/data_wait", dataWait);
    listener.logged(step, lastLoss, samplesPerSecond, dataWait);
    engine.set(Sums.LOG, Totals.ZERO);
    logWindow.restart(now);
    logWaitCarried = 0;
    logWaitFrom = waitedNanos;
  }

  /** Evaluates, and makes the epoch's points; false where a stop was asked for before that. */
  private boolean endEpoch() throws InterruptedException {
    Totals train = readFinite(Sums.EPOCH);
    long begin = activeNanos();
    Totals eval = null;
    try (Batches batches = data.eval()) {
      if (batches != null) {
        engine.set(Sums.EVAL, Totals.ZERO);
        while (true) {
          if (!boundary()) {
            return false;
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
    return true;
  }

  private List<ClassCount> byClass() {
    return Arrays.stream(engine.evalByClass()).map(c -> new ClassCount(c[0], c[1])).toList();
  }

  /** Does what was asked for between two steps; false: make no more. */
  private boolean boundary() throws InterruptedException {
    snapshots.throwFailure();
    while (true) {
      boolean full = points.size() >= MOST_POINTS;
      switch (control.next(step, time.nanos().getAsLong(), full)) {
        case STEP -> {
          return true;
        }
        case SNAPSHOT -> snapshot(false);
        case STOP -> {
          snapshot(true);
          return false;
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

  private void snapshot(boolean stopped) throws InterruptedException {
    snapshots.take(engine, state(), List.copyOf(points), stopped);
    points.clear();
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
    listener.progress(meter.report(step, loss, waitedNanos, phase, activeNanos()));
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
      carriedSeconds = 0;
      fromNanos = now;
    }
  }
}
