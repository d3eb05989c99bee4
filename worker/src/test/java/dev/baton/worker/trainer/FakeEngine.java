package dev.baton.worker.trainer;

import dev.baton.worker.data.Batch;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntConsumer;

/**
 * An engine whose every step depends on all steps before it and on every value of its batch: five
 * weights with momentum, a counter as a buffer. Classifies into two classes.
 */
final class FakeEngine implements Engine {
  static final String KIND = "fake";
  static final int PORT = 4711;
  private static final int WEIGHTS = 5;

  /** What happens around the work, for tests to interfere. */
  interface Hook {
    /** After the work on a batch of training or of an evaluation. */
    void after(boolean training, Batch batch, FakeEngine engine);
  }

  /** What joining a group does. */
  interface Joining {
    Standing join(Membership membership, Standing mine);
  }

  /** Whether the group breaks before the work on a batch. */
  interface Breaks {
    boolean at(boolean training, Batch batch);
  }

  final float[] weights = {0.1f, -0.2f, 0.3f, -0.4f, 0.5f};
  private final float[] momentum = new float[WEIGHTS];
  private long count;
  private final Map<Sums, Totals> sums = new EnumMap<>(Sums.class);
  private double[][] byClass = new double[2][2];
  private final Hook hook;
  double addToLoss;
  Joining joining = (membership, mine) -> mine;
  Breaks breaks = (training, batch) -> false;
  boolean inGroup;

  FakeEngine(Hook hook) {
    this.hook = hook;
    for (Sums each : Sums.values()) {
      sums.put(each, Totals.ZERO);
    }
  }

  @Override
  public String kind() {
    return KIND;
  }

  @Override
  public List<TensorInfo> layout() {
    return List.of(
        new TensorInfo("net.weight", DType.FLOAT32, List.of(5L, 1L), TensorInfo.Role.PARAMETER),
        new TensorInfo("net.count", DType.INT64, List.of(), TensorInfo.Role.BUFFER),
        new TensorInfo(
            "optimizer/momentum_buffer/net.weight",
            DType.FLOAT32,
            List.of(5L, 1L),
            TensorInfo.Role.OPTIMIZER));
  }

  @Override
  public void copyStateTo(List<ByteBuffer> target) {
    for (int i = 0; i < WEIGHTS; i++) {
      target.get(0).order(ByteOrder.nativeOrder()).putFloat(4 * i, weights[i]);
      target.get(2).order(ByteOrder.nativeOrder()).putFloat(4 * i, momentum[i]);
    }
    target.get(1).order(ByteOrder.nativeOrder()).putLong(0, count);
  }

  @Override
  public void restoreState(List<ByteBuffer> source) {
    for (int i = 0; i < WEIGHTS; i++) {
      weights[i] = source.get(0).getFloat(4 * i);
      momentum[i] = source.get(2).getFloat(4 * i);
    }
    count = source.get(1).getLong(0);
  }

  @Override
  public Standing join(Membership membership, Standing mine, IntConsumer listening) {
    if (membership.rank() == 0 && membership.size() > 1) {
      listening.accept(PORT);
    }
    Standing standing = joining.join(membership, mine);
    inGroup = true;
    return standing;
  }

  @Override
  public void leave() {
    inGroup = false;
  }

  @Override
  public Traffic traffic() {
    return new Traffic(100 * count, 7 * count);
  }

  private void breakWhereItShould(boolean training, Batch batch) {
    if (breaks.at(training, batch)) {
      inGroup = false;
      throw new GroupBrokenException("a peer is lost", null);
    }
  }

  /** Everything that another one of them has. */
  void copyFrom(FakeEngine other) {
    System.arraycopy(other.weights, 0, weights, 0, WEIGHTS);
    System.arraycopy(other.momentum, 0, momentum, 0, WEIGHTS);
    count = other.count;
    sums.putAll(other.sums);
  }

  @Override
  public void trainStep(Batch batch) {
    breakWhereItShould(true, batch);
    Totals totals = judge(batch);
    count++;
    for (int i = 0; i < batch.samples(); i++) {
      float x = batch.x().getFloat(4 * i);
      int w = i % WEIGHTS;
      momentum[w] = 0.9f * momentum[w] + x * weights[(w + 1) % WEIGHTS];
      weights[w] -= 0.01f * momentum[w];
    }
    add(Sums.LOG, totals);
    add(Sums.EPOCH, totals);
    hook.after(true, batch, this);
  }

  @Override
  public void evalBatch(Batch batch) {
    breakWhereItShould(false, batch);
    add(Sums.EVAL, judge(batch));
    for (int i = 0; i < batch.samples(); i++) {
      int label = (int) batch.y().getLong(8 * i);
      byClass[label][0] += hit(batch, i) ? 1 : 0;
      byClass[label][1]++;
    }
    hook.after(false, batch, this);
  }

  @Override
  public Totals read(Sums which) {
    return get(which);
  }

  @Override
  public void set(Sums which, Totals totals) {
    sums.put(which, totals);
    if (which == Sums.EVAL) {
      byClass = new double[2][2];
    }
  }

  @Override
  public double[][] evalByClass() {
    return byClass;
  }

  @Override
  public String pythonModule() {
    return "net = None\n";
  }

  @Override
  public void close() {}

  private Totals judge(Batch batch) {
    double loss = addToLoss;
    double correct = 0;
    for (int i = 0; i < batch.samples(); i++) {
      double error = batch.x().getFloat(4 * i) - weights[i % WEIGHTS];
      loss += error * error;
      correct += hit(batch, i) ? 1 : 0;
    }
    return new Totals(loss, correct, batch.samples());
  }

  private boolean hit(Batch batch, int i) {
    return (batch.x().getFloat(4 * i) > weights[i % WEIGHTS]) == (batch.y().getLong(8 * i) == 1);
  }

  private Totals get(Sums which) {
    Totals totals = sums.get(which);
    if (totals == null) {
      throw new IllegalStateException(which + " is not set");
    }
    return totals;
  }

  private void add(Sums which, Totals more) {
    Totals old = get(which);
    sums.put(
        which,
        new Totals(
            old.loss() + more.loss(),
            old.correct() + more.correct(),
            old.samples() + more.samples()));
  }
}
