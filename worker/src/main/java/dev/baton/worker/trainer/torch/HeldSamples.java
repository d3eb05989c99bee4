package dev.baton.worker.trainer.torch;

import dev.baton.worker.data.Batch;
import dev.baton.worker.data.SampleFormat;
import dev.baton.worker.data.SampleSource;
import dev.baton.worker.trainer.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/** A whole source on the device, as it is stored: a batch is gathered there. */
final class HeldSamples implements AutoCloseable {
  private static final int CHUNK_BYTES = 16 << 20;

  private final SampleSource source;
  private final Device device;
  private final Owned owned = new Owned();

  /** [samples, *xShape] and [samples] or [samples, 1]. */
  private final Tensor x;

  private final Tensor y;

  private HeldSamples(SampleSource source, Device device) {
    this.source = source;
    this.device = device;
    SampleFormat format = source.format();
    this.x = owned.keep(empty(Inputs.sizes(source.size(), format.xShape()), format.xType()));
    this.y = owned.keep(empty(Inputs.targetSizes(source.size(), format), format.yType()));
  }

  /** Bytes that a source takes. */
  static long bytes(SampleSource source) {
    SampleFormat format = source.format();
    return source.size() * (format.xBytes() + format.yBytes());
  }

  /**
   * Copies a complete source.
   *
   * @param classes that labels must be below; whatever they are where it is 0
   * @return null where a label is none
   */
  static @Nullable HeldSamples of(SampleSource source, int classes, Device device) {
    HeldSamples held = new HeldSamples(source, device);
    if (held.copy(classes)) {
      return held;
    }
    held.close();
    return null;
  }

  private Tensor empty(long[] sizes, DType type) {
    return torch.empty(
        sizes, Inputs.options(type).device(new DeviceOptional(device)), new MemoryFormatOptional());
  }

  private boolean copy(int classes) {
    SampleFormat format = source.format();
    int total = Math.toIntExact(source.size());
    int chunk = Math.max(1, Math.min(total, CHUNK_BYTES / format.xBytes()));
    int[] indices = new int[chunk];
    ByteBuffer xs = direct(chunk * format.xBytes());
    ByteBuffer ys = direct(chunk * format.yBytes());
    for (int from = 0; from < total; from += chunk) {
      int samples = Math.min(chunk, total - from);
      for (int i = 0; i < samples; i++) {
        indices[i] = from + i;
      }
      source.gather(indices, 0, samples, xs.clear(), ys.clear());
      xs.flip();
      ys.flip();
      if (format.yType() == DType.INT64 && Inputs.wrongLabel(ys, samples, classes) >= 0) {
        return false;
      }
      try (PointerScope scope = new PointerScope()) {
        x.narrow(0, from, samples)
            .copy_(
                Inputs.blob(
                    xs, Inputs.sizes(samples, format.xShape()), Inputs.options(format.xType())));
        y.narrow(0, from, samples)
            .copy_(
                Inputs.blob(
                    ys, Inputs.targetSizes(samples, format), Inputs.options(format.yType())));
      }
    }
    return true;
  }

  private static ByteBuffer direct(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
  }

  /** Whether it is this source's. */
  boolean isOf(SampleSource other) {
    return source == other;
  }

  /** A batch's samples, as they are stored. */
  Tensor x(Batch batch) {
    return take(x, batch);
  }

  /** A batch's targets. */
  Tensor y(Batch batch) {
    return take(y, batch);
  }

  private Tensor take(Tensor table, Batch batch) {
    ByteBuffer indices = batch.x();
    if (indices.remaining() == Long.BYTES) {
      return table.narrow(0, indices.getLong(indices.position()), batch.samples());
    }
    Tensor rows = Inputs.blob(indices, new long[] {batch.samples()}, Inputs.options(DType.INT64));
    return table.index_select(0, rows.to(device, rows.scalar_type()));
  }

  @Override
  public void close() {
    owned.close();
  }
}
