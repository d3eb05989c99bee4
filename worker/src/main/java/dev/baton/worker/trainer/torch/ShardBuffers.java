package dev.baton.worker.trainer.torch;

import java.util.List;
import org.bytedeco.pytorch.IValue;
import org.jspecify.annotations.Nullable;

/**
 * A model's buffers while several shards run from the same ones: each shard starts from the step's
 * first buffers; the floating-point ones become the sum over shards of each one's, weighted by its
 * share of the samples, and the integer ones are the first shard's. Used without recording
 * gradients.
 */
final class ShardBuffers {
  private final @Nullable TensorList floating;
  private final @Nullable TensorList integers;

  ShardBuffers(List<StateTensor> state, CompiledFunctions functions) {
    this.floating = list(state, true, functions);
    this.integers = list(state, false, functions);
  }

  private static @Nullable TensorList list(
      List<StateTensor> state, boolean floating, CompiledFunctions functions) {
    var tensors =
        state.stream()
            .filter(StateTensor::isBuffer)
            .map(StateTensor::tensor)
            .filter(tensor -> tensor.is_floating_point() == floating)
            .toList();
    return tensors.isEmpty() ? null : new TensorList(tensors, functions);
  }

  /** The buffers of one step; its snapshots belong to the scope that is open. */
  final class Step {
    private final @Nullable IValue firstFloating = floating == null ? null : floating.snapshot();
    private final @Nullable IValue firstIntegers = integers == null ? null : integers.snapshot();
    private @Nullable IValue integersOfShard0;

    /** Before every shard. */
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
      if (integers != null && integersOfShard0 == null) {
        integersOfShard0 = integers.snapshot();
      }
    }

    /** After the last shard, with the sum of what was appended, behind the gradients. */
    void finish(IValue total, int gradients) {
      if (floating != null) {
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
