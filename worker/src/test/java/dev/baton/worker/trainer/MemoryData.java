package dev.baton.worker.trainer;

import dev.baton.v1.JobSpec;
import dev.baton.worker.data.Batch;
import dev.baton.worker.data.BatchPlan;
import dev.baton.worker.data.Batches;
import dev.baton.worker.data.EvalBatches;
import dev.baton.worker.data.Replica;
import dev.baton.worker.data.SampleFormat;
import dev.baton.worker.data.SampleSource;
import dev.baton.worker.data.TrainBatches;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.function.ObjLongConsumer;
import org.jspecify.annotations.Nullable;

/**
 * Pictures of noise with a bright band whose place is the label, through the batches that jobs
 * have.
 *
 * @param onBatch told of each batch before it is trained or evaluated: the pass, the batch's number
 */
public record MemoryData(JobSpec spec, Pictures pictures, ObjLongConsumer<Pass> onBatch)
    implements TrainingData {
  /** What a batch is for. */
  public enum Pass {
    TRAIN,
    EVAL
  }

  @Override
  public SampleFormat format() {
    return pictures.format();
  }

  @Override
  public BatchPlan plan() {
    return new BatchPlan(
        pictures.size(),
        spec.getTraining().getBatchSize(),
        spec.getReplicas().getShards(),
        false,
        spec.getTraining().getEpochs(),
        0);
  }

  @Override
  public Batches train(long firstStep, Replica replica) {
    return new Told(
        new TrainBatches(
            pictures,
            plan(),
            spec.getTraining().getSeed(),
            true,
            firstStep,
            replica.shards(plan().shards())),
        Pass.TRAIN);
  }

  @Override
  public Batches eval(Replica replica) {
    return new Told(
        new EvalBatches(
            pictures, 16, spec.getReplicas().getShards(), 1, replica.rank(), replica.size()),
        Pass.EVAL);
  }

  @Override
  public void close() {}

  private final class Told implements Batches {
    private final Batches batches;
    private final Pass pass;

    Told(Batches batches, Pass pass) {
      this.batches = batches;
      this.pass = pass;
    }

    @Override
    public @Nullable Batch next() throws InterruptedException {
      Batch batch = batches.next();
      if (batch != null) {
        onBatch.accept(pass, batch.step());
      }
      return batch;
    }

    @Override
    public long waitedNanos() {
      return batches.waitedNanos();
    }

    @Override
    public void close() {
      batches.close();
    }
  }

  /** The samples. */
  public record Pictures(long size, int channels, int edge) implements SampleSource {
    @Override
    public SampleFormat format() {
      return new SampleFormat(
          DType.UINT8, List.of(channels, edge, edge), DType.INT64, 10, List.of());
    }

    @Override
    public void gather(int[] indices, int from, int to, ByteBuffer x, ByteBuffer y) {
      for (int i = from; i < to; i++) {
        int label = indices[i] % 10;
        y.putLong(label);
        for (int pixel = 0; pixel < channels * edge * edge; pixel++) {
          long noise = Seeds.finalise(indices[i] * 10_000L + pixel) >>> 57;
          x.put((byte) (noise + (pixel / edge % edge * 10 / edge == label ? 128 : 0)));
        }
      }
    }

    @Override
    public void close() {}
  }
}
