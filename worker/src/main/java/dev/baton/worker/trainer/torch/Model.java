package dev.baton.worker.trainer.torch;

import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * A module as the engine sees it: named parameters and buffers, train and eval mode, forward.
 * Whatever its origin, nothing else is known of it.
 */
interface Model extends AutoCloseable {

  /**
   * Parameters and buffers in the order and with the names of Python's {@code state_dict()};
   * parameters require gradients.
   */
  List<StateTensor> state();

  /** Train mode (dropout acts, batch norm counts) or eval mode. */
  void train(boolean on);

  /** {@code [samples, *sample shape]}, float32, on the device → {@code [samples, outputs]}. */
  Tensor forward(Tensor x);

  /** Which of several kernels with the same results up to rounding it is fastest with. */
  KernelChoice kernels();

  /** Whether a batch of one sample has no statistics to normalise by. */
  boolean normalisesOverBatch();

  /** Python source that defines the module's class and an instance {@code net} of it. */
  String python();

  @Override
  void close();
}
