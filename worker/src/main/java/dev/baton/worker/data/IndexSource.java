package dev.baton.worker.data;

import dev.baton.worker.trainer.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/**
 * The samples of another source as their indices alone, for a device that holds that source: x is
 * one int64 for each sample, or, where they follow each other ({@link #view}), the first one's; y
 * is empty.
 *
 * @param size of the other source
 */
public record IndexSource(long size) implements SampleSource {
  private static final SampleFormat FORMAT =
      new SampleFormat(DType.INT64, List.of(), DType.INT64, 0, List.of());

  @Override
  public SampleFormat format() {
    return FORMAT;
  }

  @Override
  public boolean byIndex() {
    return true;
  }

  @Override
  public void gather(int[] indices, int from, int to, ByteBuffer x, ByteBuffer y) {
    for (int k = from; k < to; k++) {
      x.putLong(indices[k]);
    }
  }

  @Override
  public Slice view(int from, int to) {
    ByteBuffer first = ByteBuffer.allocateDirect(Long.BYTES).order(ByteOrder.nativeOrder());
    return new Slice(first.putLong(0, from), ByteBuffer.allocateDirect(0));
  }

  @Override
  public void close() {}
}
