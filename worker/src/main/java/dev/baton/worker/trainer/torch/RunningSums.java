package dev.baton.worker.trainer.torch;

import dev.baton.worker.trainer.Engine.Sums;
import dev.baton.worker.trainer.Engine.Totals;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.DeviceType;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * Sums of loss and correct answers, float64, on the device. Adding never waits for the device; only
 * reading does. Samples are counted on the host, which knows them.
 */
final class RunningSums implements AutoCloseable {
  private static final int LOSS = 0;
  private static final int CORRECT = 1;
  private static final int LOG = 0;
  private static final int EPOCH = 1;
  private static final int EVAL = 2;

  private final Owned owned = new Owned();

  /** [2, 3]: loss and correct, each for LOG, EPOCH, EVAL. */
  private final Tensor values;

  private final Tensor trainLoss;
  private final Tensor trainCorrect;
  private final Tensor evalLoss;
  private final Tensor evalCorrect;
  private final double[] samples = new double[Sums.values().length];

  /** [classes, 2]: correct and seen; no rows for a regression. */
  private final Tensor byClass;

  private final Tensor classIndices;
  private final int classes;
  private final LongOptional lastDimension = owned.keep(new LongOptional(1));
  private final ScalarTypeOptional float64 = owned.keep(new ScalarTypeOptional(ScalarType.Double));

  RunningSums(int classes, Device device) {
    this.classes = classes;
    TensorOptions host = new TensorOptions(ScalarType.Double);
    this.values = owned.keep(torch.zeros(new long[] {2, 3}, host).to(device, ScalarType.Double));
    Tensor loss = values.select(0, LOSS);
    Tensor correct = values.select(0, CORRECT);
    // LOG and EPOCH lie side by side: one addition serves both.
    this.trainLoss = owned.keep(loss.narrow(0, LOG, 2));
    this.trainCorrect = owned.keep(correct.narrow(0, LOG, 2));
    this.evalLoss = owned.keep(loss.narrow(0, EVAL, 1));
    this.evalCorrect = owned.keep(correct.narrow(0, EVAL, 1));
    this.byClass =
        owned.keep(torch.zeros(new long[] {classes, 2}, host).to(device, ScalarType.Double));
    this.classIndices =
        owned.keep(
            torch
                .arange(new Scalar(classes), new TensorOptions(ScalarType.Long))
                .to(device, ScalarType.Long));
  }

  /**
   * Adds a shard to LOG and EPOCH.
   *
   * @param loss its part of the global batch's mean
   * @param globalSamples of the batch, to make a sum over samples of it
   */
  void addTrained(Tensor loss, Tensor outputs, Tensor targets, int n, int globalSamples) {
    addTrained(loss, trainedCorrect(outputs, targets), n, globalSamples);
  }

  /** How many of a shard were classified right, a scalar; null for a regression. */
  @Nullable Tensor trainedCorrect(Tensor outputs, Tensor targets) {
    return classes > 0 ? correct(outputs, targets).sum() : null;
  }

  /** Adds a shard that may have run elsewhere: its numbers are the same, and so is the sum. */
  void addTrained(Tensor loss, @Nullable Tensor correct, int n, int globalSamples) {
    trainLoss.add_(loss, new Scalar((double) globalSamples));
    if (correct != null) {
      trainCorrect.add_(correct);
    }
    samples[LOG] += n;
    samples[EPOCH] += n;
  }

  /**
   * Adds a batch to EVAL.
   *
   * @param loss its mean
   */
  void addEvaluated(Tensor loss, Tensor outputs, Tensor targets, int n) {
    if (classes == 0) {
      addEvaluated(loss, null, null, null, n);
      return;
    }
    Tensor correct = correct(outputs, targets);
    Tensor seen = targets.unsqueeze(1).eq(classIndices);
    addEvaluated(
        loss,
        correct.sum(),
        seen.logical_and(correct.unsqueeze(1)).sum(new long[] {0}, false, float64),
        seen.sum(new long[] {0}, false, float64),
        n);
  }

  private void addEvaluated(
      Tensor loss,
      @Nullable Tensor correct,
      @Nullable Tensor correctByClass,
      @Nullable Tensor seenByClass,
      int n) {
    evalLoss.add_(loss, new Scalar((double) n));
    if (correct != null && correctByClass != null && seenByClass != null) {
      evalCorrect.add_(correct);
      byClass.select(1, 0).add_(correctByClass);
      byClass.select(1, 1).add_(seenByClass);
    }
    samples[EVAL] += n;
  }

  /** float64 numbers that {@link #packEvaluated} writes. */
  int packedEvaluated() {
    return 3 + 2 * classes;
  }

  /**
   * Writes what a batch adds to EVAL, to be added by {@link #addEvaluated(Tensor)}.
   *
   * @param target float64, of {@link #packedEvaluated} numbers; all zero says: no batch
   */
  void packEvaluated(Tensor target, Tensor loss, Tensor outputs, Tensor targets, int n) {
    target.select(0, 0).fill_(new Scalar((double) n));
    target.select(0, 1).copy_(loss);
    if (classes > 0) {
      Tensor correct = correct(outputs, targets);
      Tensor seen = targets.unsqueeze(1).eq(classIndices);
      target.select(0, 2).copy_(correct.sum());
      target
          .narrow(0, 3, classes)
          .copy_(seen.logical_and(correct.unsqueeze(1)).sum(new long[] {0}, false, float64));
      target.narrow(0, 3 + classes, classes).copy_(seen.sum(new long[] {0}, false, float64));
    }
  }

  /** Adds a batch that was packed, on whichever replica. */
  void addEvaluated(Tensor packed) {
    int n = (int) packed.select(0, 0).item_double();
    if (n == 0) {
      return;
    }
    Tensor here = packed.to(values.device(), ScalarType.Double);
    Tensor loss = here.select(0, 1);
    if (classes == 0) {
      addEvaluated(loss, null, null, null, n);
    } else {
      addEvaluated(
          loss,
          here.select(0, 2),
          here.narrow(0, 3, classes),
          here.narrow(0, 3 + classes, classes),
          n);
    }
  }

  /** All sums as float64 numbers on the host. */
  Tensor pack() {
    double[] read = toHost(values);
    double[] classCounts = classes == 0 ? new double[0] : toHost(byClass);
    double[] all = new double[read.length + samples.length + classCounts.length];
    System.arraycopy(read, 0, all, 0, read.length);
    System.arraycopy(samples, 0, all, read.length, samples.length);
    System.arraycopy(classCounts, 0, all, read.length + samples.length, classCounts.length);
    Tensor packed = torch.zeros(new long[] {all.length}, new TensorOptions(ScalarType.Double));
    new DoublePointer(packed.data_ptr_double()).put(all);
    return packed;
  }

  /** Sets all sums to what another replica packed. */
  void unpack(Tensor packed) {
    double[] all = toHost(packed);
    int read = (int) values.numel();
    values.copy_(packed.narrow(0, 0, read).view(2, 3));
    System.arraycopy(all, read, samples, 0, samples.length);
    byClass.copy_(packed.narrow(0, read + (long) samples.length, 2L * classes).view(classes, 2));
  }

  private static int column(Sums sums) {
    return switch (sums) {
      case LOG -> LOG;
      case EPOCH -> EPOCH;
      case EVAL -> EVAL;
    };
  }

  private Tensor correct(Tensor outputs, Tensor targets) {
    return outputs.argmax(lastDimension, false).eq(targets);
  }

  Totals read(Sums sums) {
    double[] read = toHost(values);
    int column = column(sums);
    return new Totals(read[column], read[3 + column], samples[column]);
  }

  void set(Sums sums, Totals totals) {
    int column = column(sums);
    values.select(0, LOSS).select(0, column).fill_(new Scalar(totals.loss()));
    values.select(0, CORRECT).select(0, column).fill_(new Scalar(totals.correct()));
    samples[column] = totals.samples();
    if (sums == Sums.EVAL && totals.samples() == 0) {
      byClass.zero_();
    }
  }

  double[][] byClass() {
    double[][] rows = new double[classes][2];
    double[] read = classes == 0 ? new double[0] : toHost(byClass);
    for (int i = 0; i < read.length; i++) {
      rows[i / 2][i % 2] = read[i];
    }
    return rows;
  }

  private static double[] toHost(Tensor tensor) {
    double[] read = new double[(int) tensor.numel()];
    Tensor copy = tensor.to(new Device(DeviceType.CPU), ScalarType.Double).contiguous();
    new DoublePointer(copy.data_ptr_double()).get(read);
    return read;
  }

  @Override
  public void close() {
    owned.close();
  }
}
