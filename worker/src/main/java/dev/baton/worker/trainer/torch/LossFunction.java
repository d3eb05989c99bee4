package dev.baton.worker.trainer.torch;

import dev.baton.v1.Loss;
import dev.baton.worker.trainer.TrainingException;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;

/** A loss whose shards add up: each is the sum over its samples, divided by the global count. */
enum LossFunction {
  CROSS_ENTROPY {
    @Override
    Tensor mean(Tensor outputs, Tensor targets) {
      return torch.cross_entropy_loss(outputs, targets);
    }

    @Override
    Tensor sum(Tensor outputs, Tensor targets) {
      return torch.cross_entropy_loss(
          outputs, targets, new TensorOptional(), SUM, IGNORED_LABEL, 0);
    }
  },
  MSE {
    @Override
    Tensor mean(Tensor outputs, Tensor targets) {
      return torch.mse_loss(outputs, targets);
    }

    @Override
    Tensor sum(Tensor outputs, Tensor targets) {
      return torch.mse_loss(outputs, targets, SUM);
    }
  };

  /** {@code at::Reduction::Sum}. */
  private static final long SUM = 2;

  /** PyTorch's default; no label is negative. */
  private static final long IGNORED_LABEL = -100;

  static LossFunction of(Loss loss) {
    return switch (loss) {
      case LOSS_CROSS_ENTROPY -> CROSS_ENTROPY;
      case LOSS_MSE -> MSE;
      case LOSS_UNSPECIFIED, UNRECOGNIZED ->
          throw TrainingException.userError(
              "training.loss is missing; it must be one of cross_entropy, mse");
    };
  }

  /**
   * The mean over a whole batch, a scalar.
   *
   * @param outputs {@code [n, outputs]}, float32
   * @param targets {@code [n]} int64, or {@code [n, 1]} float32
   */
  abstract Tensor mean(Tensor outputs, Tensor targets);

  /** The same, but the sum. */
  abstract Tensor sum(Tensor outputs, Tensor targets);

  /** The shard's part of the global batch's mean; the mean itself where it is the whole batch. */
  Tensor ofShard(Tensor outputs, Tensor targets, int samples, int globalSamples) {
    return samples == globalSamples
        ? mean(outputs, targets)
        : sum(outputs, targets).div(new Scalar((double) globalSamples));
  }
}
