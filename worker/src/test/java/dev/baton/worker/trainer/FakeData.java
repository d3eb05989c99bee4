package dev.baton.worker.trainer;

import dev.baton.worker.data.Batch;
import dev.baton.worker.data.BatchPlan;
import dev.baton.worker.data.Batches;
import dev.baton.worker.data.Replica;
import dev.baton.worker.data.SampleFormat;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Batches of numbers that depend on their step alone. */
record FakeData(long stepsPerEpoch, long totalSteps, int evalBatches) implements TrainingData {
  private static final int BATCH = 7;

  @Override
  public SampleFormat format() {
    return new SampleFormat(DType.FLOAT32, List.of(1), DType.INT64, 2, List.of("cat", "dog"));
  }

  @Override
  public BatchPlan plan() {
    return new BatchPlan(stepsPerEpoch * BATCH - 2, BATCH, 1, false, 0, totalSteps);
  }

  @Override
  public Batches train(long firstStep, Replica replica) {
    return new FakeBatches(firstStep, totalSteps, stepsPerEpoch);
  }

  @Override
  public @Nullable Batches eval(Replica replica) {
    return evalBatches == 0 ? null : new FakeBatches(1, evalBatches, 0);
  }

  @Override
  public void close() {}

  private static final class FakeBatches implements Batches {
    private final long last;
    private final long stepsPerEpoch;
    private long next;

    FakeBatches(long first, long last, long stepsPerEpoch) {
      this.next = first;
      this.last = last;
      this.stepsPerEpoch = stepsPerEpoch;
    }

    @Override
    public @Nullable Batch next() {
      if (next > last) {
        return null;
      }
      long step = next++;
      boolean training = stepsPerEpoch > 0;
      // The last batch of an epoch is smaller.
      int samples = training && step % stepsPerEpoch == 0 ? BATCH - 2 : BATCH;
      ByteBuffer x = ByteBuffer.allocateDirect(4 * samples).order(ByteOrder.nativeOrder());
      ByteBuffer y = ByteBuffer.allocateDirect(8 * samples).order(ByteOrder.nativeOrder());
      for (int i = 0; i < samples; i++) {
        long bits = Seeds.finalise(1000 * step + i + (training ? 0 : 500));
        x.putFloat((float) (bits >>> 40) / (1 << 24) - 0.5f);
        y.putLong(bits & 1);
      }
      int epoch = training ? (int) ((step - 1) / stepsPerEpoch) + 1 : 0;
      return new FakeBatch(epoch, step, samples, x.flip(), y.flip());
    }

    @Override
    public long waitedNanos() {
      return 1000 * next;
    }

    @Override
    public void close() {}
  }

  private record FakeBatch(int epoch, long step, int samples, ByteBuffer x, ByteBuffer y)
      implements Batch {
    @Override
    public int[] shardBounds() {
      return new int[] {0, samples};
    }

    @Override
    public void release() {}
  }
}
