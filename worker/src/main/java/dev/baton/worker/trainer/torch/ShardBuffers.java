package dev.baton.worker.trainer.torch;

import java.util.List;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * A model's buffers while several shards run from the same ones: each shard starts from the step's
 * first buffers; the floating-point ones become the sum over shards of each one's, weighted by its
 * share of the samples, and the integer ones are the first shard's. Used without recording
 * gradients.
 */
final class ShardBuffers {
  private final List<Tensor> floatingTensors;
  private final List<Tensor> integerTensors;
  private final @Nullable TensorList floating;
  private final @Nullable TensorList integers;

  ShardBuffers(List<StateTensor> state, CompiledFunctions functions) {
    this.floatingTensors = tensors(state, true);
    this.integerTensors = tensors(state, false);
    this.floating = list(floatingTensors, functions);
    this.integers = list(integerTensors, functions);
  }

  private static List<Tensor> tensors(List<StateTensor> state, boolean floating) {
    return state.stream()
        .filter(StateTensor::isBuffer)
        .map(StateTensor::tensor)
        .filter(tensor -> tensor.is_floating_point() == floating)
        .toList();
  }

  private static @Nullable TensorList list(List<Tensor> tensors, CompiledFunctions functions) {
    return tensors.isEmpty() ? null : new TensorList(tensors, functions);
  }

  /** The floating-point ones. */
  List<Tensor> floating() {
    return floatingTensors;
  }

  /** The same as a list for compiled functions; only where there are any. */
  IValue floatingList() {
    if (floating == null) {
      throw new IllegalStateException("the model has no floating-point buffers");
    }
    return floating.list();
  }

  /** The others. */
  List<Tensor> integers() {
    return integerTensors;
  }

  /** The buffers of one step; its snapshots belong to the scope that is open. */
  final class Step {
    private final @Nullable IValue firstFloating = floating == null ? null : floating.snapshot();
    private final @Nullable IValue firstIntegers = integers == null ? null : integers.snapshot();
    private @Nullable IValue integersOfFirstShard;

    /** Before every shard; and where the step comes to nothing. */
    void rewind() {
      if (floating != null && firstFloating != null) {
        floating.write(firstFloating, 0);
      }
      if (integers != null && firstIntegers != null) {
        integers.write(firstIntegers, 0);
      }
    }

    /**
     * After a shard: appends its part of the floating-point buffers to its gradients.
     *
     * @param share of the batch's samples
     */
    void appendTo(IValue gradients, double share) {
      if (floating != null) {
        floating.appendTo(gradients, share);
      }
      keepIntegers();
    }

    /** After a shard that is alone: the integer buffers are its. */
    void keepIntegers() {
      if (integers != null && integersOfFirstShard == null) {
        integersOfFirstShard = integers.snapshot();
      }
    }

    /** What the first shard that ran here left of the integer ones; null without any. */
    @Nullable IValue integersOfFirstShard() {
      return integersOfFirstShard;
    }

    /**
     * After the last shard.
     *
     * @param total the sum of what was appended, behind the gradients
     * @param integersOfShard0 the batch's first shard's; null where there are none
     */
    void finish(@Nullable IValue total, int gradients, @Nullable IValue integersOfShard0) {
      if (floating != null && total != null) {
        floating.write(total, gradients);
      }
      if (integers != null && integersOfShard0 != null) {
        integers.write(integersOfShard0, 0);
      }
    }
  }

  /** Remembers the buffers as they are. */
  Step begin() {
    return new Step();
  }
}
