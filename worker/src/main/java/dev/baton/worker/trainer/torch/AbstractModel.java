package dev.baton.worker.trainer.torch;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Device;

/** What the built-in models share: their state, its ownership and the mode. */
abstract class AbstractModel implements Model {
  private final Owned owned = new Owned();
  private final List<StateTensor> state = new ArrayList<>();
  private boolean training = true;

  /** Makes this model's layers. */
  final Layers layers(Device device) {
    return new Layers(device, owned);
  }

  /** For the constructor to add to, in the order of Python's state dict. */
  final List<StateTensor> register() {
    return state;
  }

  final boolean training() {
    return training;
  }

  @Override
  public final List<StateTensor> state() {
    return List.copyOf(state);
  }

  @Override
  public final void train(boolean on) {
    training = on;
  }

  @Override
  public KernelChoice kernels() {
    return KernelChoice.DEFAULT;
  }

  @Override
  public boolean normalisesOverBatch() {
    return false;
  }

  @Override
  public final void close() {
    owned.close();
  }
}
