package dev.baton.worker.data;

/**
 * The global batches of a training run, or one replica's part of each, from any step on. What a
 * step trains is a function of (seed, epoch, step) alone. The source stays the caller's to close,
 * after this.
 */
public final class TrainBatches extends BatchRing {

  /**
   * Starts to make batches.
   *
   * @param shuffle a new permutation each epoch, or the source's order
   * @param firstStep the first that {@link #next} gives; steps count from 1
   */
  public TrainBatches(
      SampleSource source, BatchPlan plan, long seed, boolean shuffle, long firstStep) {
    this(source, plan, seed, shuffle, firstStep, ShardRange.all(plan.shards()));
  }

  /**
   * Starts to make one replica's parts; no other sample is read.
   *
   * @param shuffle a new permutation each epoch, or the source's order
   * @param firstStep the first that {@link #next} gives; steps count from 1
   * @param held the replica's shards
   */
  public TrainBatches(
      SampleSource source,
      BatchPlan plan,
      long seed,
      boolean shuffle,
      long firstStep,
      ShardRange held) {
    super(source, new Steps(plan, seed, shuffle, firstStep), plan.shards(), held, "train-batches");
  }

  private static final class Steps implements BatchSequence {
    private final BatchPlan plan;
    private final long seed;
    private final boolean shuffle;
    private final long firstStep;
    private int orderEpoch;
    private int[] order = {};

    Steps(BatchPlan plan, long seed, boolean shuffle, long firstStep) {
      this.plan = plan;
      this.seed = seed;
      this.shuffle = shuffle;
      this.firstStep = firstStep;
    }

    @Override
    public long firstStep() {
      return firstStep;
    }

    @Override
    public long lastStep() {
      return plan.totalSteps();
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
      return !shuffle;
    }

    @Override
    public int[] order(long step) {
      int epoch = plan.epochOf(step);
      if (epoch != orderEpoch) {
        order = SampleOrder.permutation((int) plan.samples(), seed, epoch);
        orderEpoch = epoch;
      }
      return order;
    }

    @Override
    public int maxSamples() {
      return (int) Math.min(plan.batchSize(), plan.samples());
    }
  }
}
