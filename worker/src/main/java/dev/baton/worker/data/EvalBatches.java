package dev.baton.worker.data;

import dev.baton.worker.trainer.TrainingException;

/**
 * Every sample of a source once, in its order; the last batch may be smaller. Several replicas take
 * the batches in turn, each as many: where the number does not divide, the last ones hold no
 * sample. The source stays the caller's to close, after this.
 */
public final class EvalBatches extends BatchRing {

  /** Starts to make batches. */
  public EvalBatches(SampleSource source, int batchSize, int shards) {
    this(source, batchSize, shards, 1);
  }

  /** Starts to make batches from that one on; they count from 1. */
  public EvalBatches(SampleSource source, int batchSize, int shards, long firstBatch) {
    this(source, batchSize, shards, firstBatch, 0, 1);
  }

  /**
   * Starts to make those of one replica: every {@code size}-th, the first of them number {@code
   * rank} + 1 of all.
   *
   * @param firstBatch of this replica's, from 1
   */
  public EvalBatches(
      SampleSource source, int batchSize, int shards, long firstBatch, int rank, int size) {
    super(
        source,
        new Pass(plan(source, batchSize), firstBatch, rank, size),
        shards,
        ShardRange.all(shards),
        "eval-batches");
  }

  private static BatchPlan plan(SampleSource source, int batchSize) {
    if (batchSize < 1) {
      throw TrainingException.userError(
          "data.eval.batch_size is " + batchSize + "; it must be at least 1");
    }
    return new BatchPlan(source.size(), batchSize, 1, false, 1, 0);
  }

  private record Pass(BatchPlan plan, long firstStep, int rank, int size) implements BatchSequence {

    /** Of all batches, from 1; may lie behind the last. */
    private long number(long step) {
      return (step - 1) * size + rank + 1;
    }

    @Override
    public long lastStep() {
      return (plan.totalSteps() + size - 1) / size;
    }

    @Override
    public int samplesOf(long step) {
      return number(step) > plan.totalSteps() ? 0 : plan.samplesOf(number(step));
    }

    @Override
    public int positionOf(long step) {
      return (int) plan.positionOf(number(step));
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
