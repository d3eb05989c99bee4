package dev.baton.worker.data;

import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.Seeds;
import dev.baton.worker.trainer.TrainingException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * y = 2 x₁ - 3 x₂ + 10 + noise of standard deviation 2; x uniform in [-5, 5)². Each sample is a
 * function of (seed, index), through {@link StrictMath}, so that every machine computes the same
 * bits. Normal numbers are Box and Muller's.
 */
final class SyntheticRegressionSource implements SampleSource {
  private static final SampleFormat FORMAT =
      new SampleFormat(DType.FLOAT32, List.of(2), DType.FLOAT32, 0, List.of());
  private static final int X_BYTES = 8;
  private static final int Y_BYTES = 4;
  private static final int CHUNK = 1 << 14;

  /** 96 MB of them; what is larger is computed when it is gathered. */
  private static final int MAX_STORED = 1 << 23;

  private final long seed;
  private final int size;
  private final @Nullable Slice stored;

  SyntheticRegressionSource(long samples, long seed) {
    if (samples < 1 || samples > Integer.MAX_VALUE) {
      throw TrainingException.userError(
          "synthetic.regression.samples is "
              + samples
              + "; 1 to "
              + Integer.MAX_VALUE
              + " can be made");
    }
    this.seed = seed;
    this.size = (int) samples;
    this.stored = size <= MAX_STORED ? store() : null;
  }

  private Slice store() {
    ByteBuffer x = ByteBuffer.allocateDirect(size * X_BYTES).order(ByteOrder.nativeOrder());
    ByteBuffer y = ByteBuffer.allocateDirect(size * Y_BYTES).order(ByteOrder.nativeOrder());
    IntStream.range(0, (size + CHUNK - 1) / CHUNK)
        .parallel()
        .forEach(
            chunk -> {
              int end = Math.min(size, (chunk + 1) * CHUNK);
              for (int i = chunk * CHUNK; i < end; i++) {
                write(i, x, i * X_BYTES, y, i * Y_BYTES);
              }
            });
    return new Slice(x, y);
  }

  private void write(int index, ByteBuffer x, int xAt, ByteBuffer y, int yAt) {
    double x1 = 10 * uniform(draw(index, 0)) - 5;
    double x2 = 10 * uniform(draw(index, 1)) - 5;
    long noise = draw(index, 2);
    // Never 0 below the logarithm.
    double radius = StrictMath.sqrt(-2 * StrictMath.log(((noise >>> 32) + 1) * 0x1p-32));
    double normal = radius * StrictMath.cos(2 * Math.PI * ((noise & 0xFFFFFFFFL) * 0x1p-32));
    x.putFloat(xAt, (float) x1);
    x.putFloat(xAt + 4, (float) x2);
    y.putFloat(yAt, (float) (2 * x1 - 3 * x2 + 10 + 2 * normal));
  }

  private long draw(int index, int which) {
    return Seeds.mix(seed, Seeds.Purpose.SYNTHETIC_DATA, index, which);
  }

  /** In [0, 1), of 24 bits: what a float holds. */
  private static double uniform(long bits) {
    return (bits >>> 40) * 0x1p-24;
  }

  @Override
  public SampleFormat format() {
    return FORMAT;
  }

  @Override
  public long size() {
    return size;
  }

  @Override
  public void gather(int[] indices, int from, int to, ByteBuffer x, ByteBuffer y) {
    int xAt = x.position();
    int yAt = y.position();
    for (int k = from; k < to; k++, xAt += X_BYTES, yAt += Y_BYTES) {
      int index = indices[k];
      if (stored == null) {
        write(index, x, xAt, y, yAt);
      } else {
        x.putLong(xAt, stored.x().getLong(index * X_BYTES));
        y.putInt(yAt, stored.y().getInt(index * Y_BYTES));
      }
    }
    x.position(xAt);
    y.position(yAt);
  }

  @Override
  public @Nullable Slice view(int from, int to) {
    if (stored == null) {
      return null;
    }
    return new Slice(
        slice(stored.x(), from * X_BYTES, to * X_BYTES),
        slice(stored.y(), from * Y_BYTES, to * Y_BYTES));
  }

  private static ByteBuffer slice(ByteBuffer buffer, int from, int to) {
    return buffer.slice(from, to - from).order(ByteOrder.nativeOrder());
  }

  @Override
  public void close() {}
}
