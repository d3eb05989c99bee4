package dev.baton.worker.trainer;

import dev.baton.v1.GroupStands;
import dev.baton.v1.JoinGroup;
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
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** One attempt with the fake engine on a manual clock, and all that it said. */
final class RecordedRun implements TrainingListener, AutoCloseable {
  /** Interferes after the work on a batch; the batch's number is its step's in training. */
  interface Hook {
    Hook NOTHING = (run, training, batch) -> {};

    void after(RecordedRun run, boolean training, long batch);

    /**
     * Asks for a checkpoint during that training step.
     *
     * @param stop whether training is to stop there
     */
    static Hook checkpointAt(long step, boolean stop) {
      return (run, training, batch) -> {
        if (training && batch == step) {
          run.control.checkpointNow(stop);
        }
      };
    }
  }

  static final String SPEC = "digest-of-the-spec";
  static final int LOG_EVERY = 3;
  static final long INTERVAL = 1_000_000_000_000L;

  final AtomicLong nanos = new AtomicLong(5_000);
  final TrainingControl control;
  final List<Progress> progress = new CopyOnWriteArrayList<>();
  final List<Snapshots.Written> snapshots = new CopyOnWriteArrayList<>();
  final List<EpochSummary> epochs = new ArrayList<>();
  final List<StepProgress> reports = new CopyOnWriteArrayList<>();

  /** What was told of groups. */
  final List<String> groups = new CopyOnWriteArrayList<>();

  /** What the daemon does when the run waits for the others of a group. */
  Consumer<JoinGroup> onWaiting = this::stand;

  /** When an epoch has ended. */
  Consumer<EpochSummary> onEpochEnd = summary -> {};

  /** And when a group is broken. */
  Consumer<JoinGroup> onBroken = group -> {};

  final FakeEngine engine;
  final TrainingRun run;
  private final Snapshots writer;

  RecordedRun(Path dir, FakeData data, @Nullable Path checkpoint, Hook hook)
      throws IOException, InterruptedException {
    this(dir, data, checkpoint, hook, new TrainingControl(INTERVAL), true);
  }

  /** A member of groups, which others tell of. */
  static RecordedRun inGroups(Path dir, FakeData data, boolean whole, Hook hook)
      throws IOException, InterruptedException {
    return new RecordedRun(dir, data, null, hook, new TrainingControl(INTERVAL, true), whole);
  }

  private RecordedRun(
      Path dir,
      FakeData data,
      @Nullable Path checkpoint,
      Hook hook,
      TrainingControl control,
      boolean whole)
      throws IOException, InterruptedException {
    this.control = control;
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
            whole,
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
    reports.add(each);
    progress.add(each.getProgress());
  }

  @Override
  public void groupWaiting(JoinGroup group, long step, int port) {
    groups.add("%s waits at %d, port %d".formatted(group.getGroup(), step, port));
    onWaiting.accept(group);
  }

  @Override
  public void groupFormed(JoinGroup group, long step) {
    groups.add("%s formed at %d".formatted(group.getGroup(), step));
  }

  @Override
  public void groupBroken(JoinGroup group, long step, String message) {
    groups.add("%s broken at %d: %s".formatted(group.getGroup(), step, message));
    onBroken.accept(group);
  }

  /** Names the group of a term. */
  void join(int term, int rank, int size) {
    control.joinGroup(group(term, rank, size).build());
  }

  static JoinGroup.Builder group(int term, int rank, int size) {
    return JoinGroup.newBuilder().setGroup("g" + term).setRank(rank).setWorldSize(size);
  }

  /** All members wait. */
  void stand(JoinGroup group) {
    control.groupStands(
        GroupStands.newBuilder()
            .setGroup(group.getGroup())
            .setStoreHost("there")
            .setStorePort(FakeEngine.PORT)
            .build());
  }

  @Override
  public void epochEnded(EpochSummary summary) {
    epochs.add(summary);
    onEpochEnd.accept(summary);
  }

  @Override
  public void close() {
    writer.close();
  }
}
