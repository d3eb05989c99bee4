package dev.baton.worker.trainer.torch;

import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DeviceGuardImplInterface;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.DeviceType;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * Copies from the host to a GPU beside the computation: through page-locked memory, on a stream of
 * their own. The host waits for each copy, not for the step before it, whose kernels are queued
 * already and run meanwhile; so one page-locked buffer is enough.
 */
final class PinnedUpload implements AutoCloseable {
  private final Device device;
  private final Owned owned = new Owned();
  private final DeviceGuardImplInterface streams;
  private final Stream copies;
  private final MemoryFormatOptional anyFormat = owned.keep(new MemoryFormatOptional());

  /** uint8, page-locked. */
  private @Nullable Tensor pinned;

  PinnedUpload(Device device) {
    this.device = device;
    this.streams = torch.getDeviceGuardImpl(DeviceType.CUDA);
    this.copies = owned.keep(streams.getStreamFromGlobalPool(device, false));
  }

  /** The same tensor on the device. The host's memory is free again when this returns. */
  Tensor upload(Tensor host) {
    Tensor bytes = pinned(host.nbytes());
    Tensor staged = bytes.view(host.scalar_type()).view(host.shape());
    staged.copy_(host);
    Stream computation = streams.exchangeStream(copies);
    Tensor copy;
    try {
      copy = staged.to(device, host.scalar_type(), true, false, anyFormat);
    } finally {
      streams.exchangeStream(computation);
    }
    copies.synchronize();
    // Its memory came from the copies' stream: not to be given away there while it is used here.
    copy.record_stream(computation);
    return copy;
  }

  private Tensor pinned(long bytes) {
    Tensor memory = pinned;
    if (memory == null || memory.numel() < bytes) {
      memory =
          owned.keep(
              torch
                  .empty(new long[] {bytes}, new TensorOptions(ScalarType.Byte), anyFormat)
                  .pin_memory());
      pinned = memory;
    }
    return memory.narrow(0, 0, bytes);
  }

  @Override
  public void close() {
    owned.close();
  }
}
