package dev.baton.worker.trainer.torch;

import dev.baton.worker.data.Batch;
import dev.baton.worker.data.SampleFormat;
import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.Seeds;
import java.nio.ByteBuffer;
import java.util.List;

/**
 * Pictures of noise with a bright band whose place is the label, the same as {@code record.py}
 * makes.
 */
record Pictures(int channels, int size) {
  private static final long GAMMA = 0x9E3779B97F4A7C15L;

  SampleFormat format() {
    return new SampleFormat(DType.UINT8, List.of(channels, size, size), DType.INT64, 10, List.of());
  }

  /** The batch of a step, in file order. */
  Batch batch(long step, int samples, int shards) {
    return batch(step, (step - 1) * samples, samples, shards);
  }

  Batch batch(long step, long first, int samples, int shards) {
    int per = channels * size * size;
    ByteBuffer x = HostBatch.direct(samples * per);
    ByteBuffer y = HostBatch.direct(samples * Long.BYTES);
    for (long sample = first; sample < first + samples; sample++) {
      long label = Long.remainderUnsigned(splitmix(sample + (1L << 40)), 10);
      y.putLong(label);
      for (int i = 0; i < per; i++) {
        int row = i / size % size;
        long noise = splitmix(sample * per + i + 1) >>> 57;
        x.put((byte) (noise + (row * 10 / size == label ? 128 : 0)));
      }
    }
    return new HostBatch(step, samples, shards, x.flip(), y.flip());
  }

  private static long splitmix(long i) {
    return Seeds.finalise(i * GAMMA);
  }
}
