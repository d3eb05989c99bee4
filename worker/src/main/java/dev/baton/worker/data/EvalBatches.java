package dev.baton.worker.data;

import dev.baton.worker.trainer.TrainingException;
import org.jspecify.annotations.Nullable;

/**
 * Every sample of a source once, in its order; the last batch may be smaller. The source stays the
 * caller's to close, after this.
 */
public final class EvalBatches implements Batches {
  private final BatchRing ring;

  /** Starts to make batches. */
  public EvalBatches(SampleSource source, int batchSize, int shards) {
    this(source, batchSize, shards, 1);
  }

  /** Starts to make batches from that one on; they count from 1. */
  public EvalBatches(SampleSource source, int batchSize, int shards, long firstBatch) {
    if (batchSize < 1) {
      throw TrainingException.userError(
          "data.eval.batch_size is " + batchSize + "; it must be at least 1");
    }
    BatchPlan plan = new BatchPlan(source.size(), batchSize, 1, false, 1, 0);
    this.ring = new BatchRing(source, new Pass(plan, firstBatch), shards, "eval-batches");
  }

  @Override
  public @Nullable Batch next() throws InterruptedException {
    return ring.next();
  }

  @Override
  public long waitedNanos() {
    return ring.waitedNanos();
  }

  @Override
  public void close() {
    ring.close();
  }

  private record Pass(BatchPlan plan, long firstStep) implements BatchSequence {
    @Override
    public long lastStep() {
      return plan.totalSteps();
    }

    @Override
    public int epochOf(long step) {
      return 0;
    }

    @Override
    public int samplesOf(long step) {
      return plan.samplesOf(step);
    }

    @Override
    public int positionOf(long step) {
      return (int) plan.positionOf(step);
    }

    @Override
    public boolean inOrder() {
      return true;
    }

    @Override
    public int[] order(long step) {
      throw new IllegalStateException("an evaluation takes samples as they lie");
    }

    @Override
    public int maxSamples() {
      return (int) Math.min(plan.batchSize(), plan.samples());
    }
  }
}
