package dev.baton.worker.trainer;

import dev.baton.v1.MetricPoint;
import dev.baton.v1.Progress;
import dev.baton.v1.StepProgress;
import dev.baton.worker.checkpoint.CheckpointFile;
import dev.baton.worker.checkpoint.RunState;
import dev.baton.worker.checkpoint.StateDigest;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/** One attempt with the fake engine on a manual clock, and all that it said. */
final class RecordedRun implements TrainingListener, AutoCloseable {
  /** Interferes after the work on a batch; the batch's number is its step's in training. */
  interface Hook {
    Hook NOTHING = (run, training, batch) -> {};

    void after(RecordedRun run, boolean training, long batch);
  }

  static final String SPEC = "digest-of-the-spec";
  static final int LOG_EVERY = 3;
  static final long INTERVAL = 1_000_000_000_000L;

  final AtomicLong nanos = new AtomicLong(5_000);
  final TrainingControl control = new TrainingControl(INTERVAL);
  final List<Progress> progress = new CopyOnWriteArrayList<>();
  final List<Snapshots.Written> snapshots = new CopyOnWriteArrayList<>();
  final List<EpochSummary> epochs = new ArrayList<>();
  final FakeEngine engine;
  final TrainingRun run;
  private final Snapshots writer;

  RecordedRun(Path dir, FakeData data, @Nullable Path checkpoint, Hook hook)
      throws IOException, InterruptedException {
    engine =
        new FakeEngine(
            (training, batch, self) -> {
              nanos.addAndGet(1_000_000);
              hook.after(this, training, batch.step());
            });
    writer = new Snapshots(dir, engine.layout(), snapshots::add, nanos::get);
    RunState start = RunState.beginning(SPEC, FakeEngine.KIND, 1, 1);
    if (checkpoint != null) {
      List<ByteBuffer> buffers = writer.acquire();
      start = CheckpointFile.read(checkpoint, engine.layout(), buffers, SPEC);
      engine.restoreState(buffers);
      writer.release(buffers);
    }
    control.go(Long.MAX_VALUE, nanos.get());
    run =
        new TrainingRun(
            engine,
            data,
            start,
            true,
            LOG_EVERY,
            control,
            writer,
            this,
            new TrainingRun.Time(nanos::get, () -> 42));
  }

  TrainingRun.End train() throws InterruptedException {
    TrainingRun.End end = run.run();
    writer.drain();
    return end;
  }

  /** Points as they reach the daemon: with snapshots, then with the end. */
  List<MetricPoint> committed() {
    List<MetricPoint> points = new ArrayList<>();
    snapshots.forEach(snapshot -> points.addAll(snapshot.points()));
    return points;
  }

  String weights() throws InterruptedException {
    List<ByteBuffer> buffers = writer.acquire();
    engine.copyStateTo(buffers);
    writer.release(buffers);
    // The optimizer's state counts too, here.
    List<TensorInfo> all =
        engine.layout().stream()
            .map(t -> new TensorInfo(t.name(), t.dtype(), t.shape(), TensorInfo.Role.BUFFER))
            .toList();
    return StateDigest.weightsSha256(all, buffers);
  }

  @Override
  public void progress(StepProgress each) {
    progress.add(each.getProgress());
  }

  @Override
  public void epochEnded(EpochSummary summary) {
    epochs.add(summary);
  }

  @Override
  public void close() {
    writer.close();
  }
}
