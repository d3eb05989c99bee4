package dev.baton.worker.trainer;

import java.util.List;

/**
 * One tensor of a training state.
 *
 * @param name a state-dict name ({@code layers.0.weight}), or for what belongs to the optimizer
 *     {@code optimizer/exp_avg/layers.0.weight}
 * @param dtype its element type
 * @param shape its dimensions; empty for a scalar
 * @param role what it is
 */
public record TensorInfo(String name, DType dtype, List<Long> shape, Role role) {

  /** What a tensor is to the model. */
  public enum Role {
    PARAMETER,
    BUFFER,
    OPTIMIZER
  }

  public TensorInfo {
    shape = List.copyOf(shape);
  }

  /** Number of elements. */
  public long elements() {
    return shape.stream().mapToLong(Long::longValue).reduce(1, Math::multiplyExact);
  }

  /** Size in bytes. */
  public long bytes() {
    return Math.multiplyExact(elements(), (long) dtype.bytes());
  }

  /** Whether it belongs to the module's state dict. */
  public boolean inStateDict() {
    return role != Role.OPTIMIZER;
  }
}
