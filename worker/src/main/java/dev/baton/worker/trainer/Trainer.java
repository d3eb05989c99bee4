package dev.baton.worker.trainer;

import dev.baton.v1.Finished;
import dev.baton.v1.JobSpec;
import dev.baton.v1.JoinGroup;
import dev.baton.v1.Prepared;
import dev.baton.v1.Result;
import dev.baton.v1.Run;
import dev.baton.v1.SnapshotWritten;
import dev.baton.v1.StepProgress;
import dev.baton.v1.TrainerFailed;
import dev.baton.v1.TrainerGroupBroken;
import dev.baton.v1.TrainerGroupFormed;
import dev.baton.v1.TrainerGroupWaiting;
import dev.baton.v1.TrainerMessage;
import dev.baton.worker.checkpoint.CheckpointFile;
import dev.baton.worker.checkpoint.RunState;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;

/**
 * One attempt from Run to its end: prepares, answers, waits for Go, trains, leaves the result. What
 * goes wrong and is known ends in TrainerFailed; what is not known is thrown.
 */
final class Trainer {

  /** Opens what a job reads. */
  @FunctionalInterface
  interface DataOpener {
    TrainingData open(Run run) throws IOException;
  }

  private final EngineFactory engines;
  private final DataOpener opener;
  private final Consumer<TrainerMessage> daemon;
  private final PrintStream out;
  private final TrainingRun.Time time;

  /** The last step that is known to be complete, for a failure's report. */
  private volatile long step;

  Trainer(
      EngineFactory engines,
      DataOpener opener,
      Consumer<TrainerMessage> daemon,
      PrintStream out,
      TrainingRun.Time time) {
    this.engines = engines;
    this.opener = opener;
    this.daemon = daemon;
    this.out = out;
    this.time = time;
  }

  /** What a job's run listens to. */
  static TrainingControl control(JobSpec spec) {
    var interval = spec.getCheckpoint().getInterval();
    long nanos =
        Math.addExact(
            Math.multiplyExact(interval.getSeconds(), 1_000_000_000L), interval.getNanos());
    return new TrainingControl(nanos, spec.getReplicas().getMax() > 1);
  }

  /** Runs the attempt to its end; every known failure is reported, not thrown. */
  void run(Run run, TrainingControl control) throws InterruptedException {
    try {
      train(run, control);
    } catch (RuntimeException | IOException | OutOfMemoryError e) {
      TrainerFailed failed = KnownFailure.of(e, step, Path.of(run.getAttemptDir()));
      if (e instanceof TrainingException && e.getCause() == null) {
        out.println("error: " + failed.getMessage());
      } else {
        e.printStackTrace(out);
      }
      daemon.accept(TrainerMessage.newBuilder().setFailed(failed).build());
    }
  }

  private void train(Run run, TrainingControl control) throws IOException, InterruptedException {
    Path dir = Files.createDirectories(Path.of(run.getAttemptDir()));
    JobSpec spec = run.getSpec();
    try (TrainingData data = opener.open(run);
        Engine engine = engines.create(spec, data.format(), run.getDevice())) {
      data.feed(engine);
      control.onAbandon(engine::abandonGroup);
      ConsoleLog log = new ConsoleLog(out, data);
      List<TensorInfo> layout = engine.layout();
      try (Snapshots snapshots = new Snapshots(dir, layout, s -> written(s, log), time.nanos())) {
        RunState start = restore(run, engine, snapshots);
        step = start.step();
        control.restored(step);
        daemon.accept(
            TrainerMessage.newBuilder()
                .setPrepared(
                    Prepared.newBuilder()
                        .setResumedStep(start.step())
                        .setTotalSteps(data.plan().totalSteps())
                        .setKind(engine.kind()))
                .build());
        control.awaitGo();
        if (!run.getJoins()) {
          log.begun(start, engine.kind());
        }
        TrainingRun training =
            new TrainingRun(
                engine,
                data,
                start,
                !run.getJoins(),
                spec.getTraining().getLogEvery(),
                control,
                snapshots,
                new Report(log, data.plan().totalSteps(), engine.kind()),
                time);
        TrainingRun.End end;
        try {
          end = training.run();
        } finally {
          step = training.step();
        }
        snapshots.drain();
        if (end == TrainingRun.End.FINISHED) {
          finish(dir, engine, data, snapshots, training, log);
        }
      }
    }
  }

  private RunState restore(Run run, Engine engine, Snapshots snapshots)
      throws IOException, InterruptedException {
    if (run.getCheckpointFile().isEmpty()) {
      snapshots.prepare();
      return RunState.beginning(
          run.getSpecDigest(),
          engine.kind(),
          run.getSpec().getReplicas().getShards(),
          run.getSpec().getResources().getCpus());
    }
    List<ByteBuffer> buffers = snapshots.acquire();
    try {
      RunState state =
          CheckpointFile.read(
              Path.of(run.getCheckpointFile()), engine.layout(), buffers, run.getSpecDigest());
      engine.restoreState(buffers);
      return state;
    } finally {
      snapshots.release(buffers);
    }
  }

  private void written(Snapshots.Written snapshot, ConsoleLog log) {
    log.snapshotWritten(snapshot);
    daemon.accept(
        TrainerMessage.newBuilder()
            .setSnapshot(
                SnapshotWritten.newBuilder()
                    .setStep(snapshot.state().step())
                    .setFile(snapshot.file().toString())
                    .addAllPoints(snapshot.points())
                    .setStopped(snapshot.stopped()))
            .build());
  }

  private void finish(
      Path dir,
      Engine engine,
      TrainingData data,
      Snapshots snapshots,
      TrainingRun training,
      ConsoleLog log)
      throws IOException, InterruptedException {
    List<TensorInfo> layout = engine.layout();
    List<ByteBuffer> state = snapshots.acquire();
    engine.copyStateTo(state);
    Snapshots.requireFinite(layout, state, training.step());
    ModelFiles.write(dir, layout, state, engine.pythonModule());
    List<String> classNames = data.format().classNames();
    Result result =
        ModelFiles.result(layout, state, training.lastEpoch(), data.format().classes(), classNames);
    log.finished(training.lastEpoch(), classNames, result.getWeightsSha256());
    daemon.accept(
        TrainerMessage.newBuilder()
            .setFinished(
                Finished.newBuilder()
                    .setStep(training.step())
                    .setResult(result)
                    .addAllPoints(training.points())
                    .addAllArtifacts(ModelFiles.NAMES))
            .build());
  }

  /** Tells the daemon of progress and of groups, and the log of the rest. */
  private final class Report implements TrainingListener {
    private final ConsoleLog log;
    private final long totalSteps;
    private final String kind;

    /** Rank 0's log is the job's. */
    private boolean logs = true;

    Report(ConsoleLog log, long totalSteps, String kind) {
      this.log = log;
      this.totalSteps = totalSteps;
      this.kind = kind;
    }

    @Override
    public void progress(StepProgress progress) {
      daemon.accept(TrainerMessage.newBuilder().setProgress(progress).build());
    }

    @Override
    public void logged(long atStep, double loss, double samplesPerSecond, double dataWait) {
      if (logs) {
        log.logged(atStep, loss, samplesPerSecond, dataWait);
      }
    }

    @Override
    public void epochEnded(EpochSummary summary) {
      if (logs) {
        log.epochEnded(summary);
      }
    }

    @Override
    public void groupWaiting(JoinGroup group, long atStep, int port) {
      daemon.accept(
          TrainerMessage.newBuilder()
              .setGroupWaiting(
                  TrainerGroupWaiting.newBuilder()
                      .setGroup(group.getGroup())
                      .setStep(atStep)
                      .setPort(port))
              .build());
    }

    @Override
    public void groupFormed(JoinGroup group, long atStep) {
      logs = group.getRank() == 0;
      log.groupFormed(group.getRank(), group.getWorldSize(), atStep);
      daemon.accept(
          TrainerMessage.newBuilder()
              .setGroupFormed(
                  TrainerGroupFormed.newBuilder()
                      .setGroup(group.getGroup())
                      .setStep(atStep)
                      .setTotalSteps(totalSteps)
                      .setKind(kind))
              .build());
    }

    @Override
    public void groupBroken(JoinGroup group, long atStep, String message) {
      log.groupBroken(message);
      daemon.accept(
          TrainerMessage.newBuilder()
              .setGroupBroken(
                  TrainerGroupBroken.newBuilder()
                      .setGroup(group.getGroup())
                      .setStep(atStep)
                      .setMessage(message))
              .build());
    }
  }
}
