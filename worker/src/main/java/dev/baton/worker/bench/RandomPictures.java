package dev.baton.worker.bench;

import dev.baton.worker.data.SampleFormat;
import dev.baton.worker.data.SampleSource;
import dev.baton.worker.trainer.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Random;

/** Random float32 pictures with random labels of ten classes, in memory. */
final class RandomPictures implements SampleSource {
  private static final int CLASSES = 10;

  private final SampleFormat format;
  private final int samples;
  private final ByteBuffer x;
  private final ByteBuffer y;

  /**
   * @param normal standard normal values, else uniform in [0, 1)
   */
  RandomPictures(int samples, int channels, int size, boolean normal) {
    this.format =
        new SampleFormat(
            DType.FLOAT32, List.of(channels, size, size), DType.INT64, CLASSES, List.of());
    this.samples = samples;
    this.x = direct(samples * format.xBytes());
    this.y = direct(samples * format.yBytes());
    Random random = new Random(1);
    while (x.hasRemaining()) {
      x.putFloat(normal ? (float) random.nextGaussian() : random.nextFloat());
    }
    while (y.hasRemaining()) {
      y.putLong(random.nextInt(CLASSES));
    }
  }

  private static ByteBuffer direct(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
  }

  @Override
  public SampleFormat format() {
    return format;
  }

  @Override
  public long size() {
    return samples;
  }

  @Override
  public void gather(int[] indices, int from, int to, ByteBuffer xTarget, ByteBuffer yTarget) {
    for (int i = from; i < to; i++) {
      xTarget.put(x.duplicate().clear().slice(indices[i] * format.xBytes(), format.xBytes()));
      yTarget.putLong(y.getLong(indices[i] * Long.BYTES));
    }
  }

  @Override
  public void close() {}
}
