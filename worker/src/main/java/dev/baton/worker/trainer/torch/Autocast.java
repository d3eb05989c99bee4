package dev.baton.worker.trainer.torch;

import dev.baton.worker.trainer.TrainingException;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.DeviceType;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/** {@code torch.autocast(device, dtype=torch.bfloat16)}, for the thread that enters it. */
final class Autocast {
  private final DeviceType device;

  Autocast(Device device) {
    this.device = device.type();
  }

  /** In which operators run in bfloat16 where that is customary. */
  interface Region extends AutoCloseable {
    /** Drops the weights' bfloat16 copies, too. */
    @Override
    void close();
  }

  /**
   * Enters a region.
   *
   * @param autocast null: everything stays in float32
   */
  static Region enter(@Nullable Autocast autocast) {
    if (autocast == null) {
      return () -> {};
    }
    DeviceType device = autocast.device;
    try {
      torch.set_autocast_dtype(device, ScalarType.BFloat16);
      torch.set_autocast_enabled(device, true);
    } catch (NoSuchMethodError e) {
      throw TrainingException.userError(
          "bf16 needs libtorch 2.10, which the builds for CPUs and for CUDA 13 have; train in fp32");
    }
    return () -> {
      torch.set_autocast_enabled(device, false);
      torch.clear_cache();
    };
  }
}
