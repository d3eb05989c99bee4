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
    trainLoss.add_(loss, new Scalar((double) globalSamples));
    if (classes > 0) {
      trainCorrect.add_(correct(outputs, targets).sum());
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
    evalLoss.add_(loss, new Scalar((double) n));
    if (classes > 0) {
      Tensor correct = correct(outputs, targets);
      evalCorrect.add_(correct.sum());
      Tensor seen = targets.unsqueeze(1).eq(classIndices);
      byClass
          .select(1, 0)
          .add_(seen.logical_and(correct.unsqueeze(1)).sum(new long[] {0}, false, float64));
      byClass.select(1, 1).add_(seen.sum(new long[] {0}, false, float64));
    }
    samples[EVAL] += n;
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
