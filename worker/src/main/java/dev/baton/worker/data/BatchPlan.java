package dev.baton.worker.data;

import dev.baton.worker.trainer.TrainingException;

/**
 * How a training run is cut into epochs, steps, batches and shards. Pure arithmetic; steps and
 * epochs count from 1.
 *
 * @param samples in an epoch
 * @param batchSize of the global batch
 * @param shards slices of every batch
 * @param dropLast whether an epoch's last, smaller batch is left out
 * @param epochs 0: as many as maxSteps takes
 * @param maxSteps 0: as many as the epochs take; where both are given, whichever comes first
 */
public record BatchPlan(
    long samples, int batchSize, int shards, boolean dropLast, int epochs, long maxSteps) {

  public BatchPlan {
    if (samples < 1) {
      throw TrainingException.userError("data.train: the split holds no samples");
    }
    if (batchSize < 1) {
      throw TrainingException.userError(
          "training.batch_size is " + batchSize + "; it must be at least 1");
    }
    if (shards < 1 || batchSize < shards) {
      throw TrainingException.userError(
          "training.batch_size is "
              + batchSize
              + ", replicas.shards "
              + shards
              + "; a batch must hold at least one sample for each shard");
    }
    if (epochs < 0 || maxSteps < 0 || (epochs == 0 && maxSteps == 0)) {
      throw TrainingException.userError(
          "training.epochs or training.max_steps must be positive; they are "
              + epochs
              + " and "
              + maxSteps);
    }
    if (dropLast && batchSize > samples) {
      throw TrainingException.userError(
          "data.train.drop_last leaves nothing: the batch of "
              + batchSize
              + " is larger than the "
              + samples
              + " samples");
    }
  }

  /** Steps in each epoch. */
  public long stepsPerEpoch() {
    return dropLast ? samples / batchSize : (samples + batchSize - 1) / batchSize;
  }

  /** The step that ends the run. */
  public long totalSteps() {
    if (epochs == 0) {
      return maxSteps;
    }
    long all = Math.multiplyExact(stepsPerEpoch(), epochs);
    return maxSteps == 0 ? all : Math.min(all, maxSteps);
  }

  /** The epoch that a step belongs to. */
  public int epochOf(long step) {
    return Math.toIntExact((step - 1) / stepsPerEpoch() + 1);
  }

  /** Where a step's batch begins in its epoch's order, from 0. */
  public long positionOf(long step) {
    return (step - 1) % stepsPerEpoch() * batchSize;
  }

  /** Samples in a step's batch. */
  public int samplesOf(long step) {
    return (int) Math.min(batchSize, samples - positionOf(step));
  }

  /** Samples trained once {@code step} is done; 0 for step 0. */
  public long samplesThrough(long step) {
    if (step == 0) {
      return 0;
    }
    long perEpoch = Math.min(samples, stepsPerEpoch() * batchSize);
    return (epochOf(step) - 1) * perEpoch + positionOf(step) + samplesOf(step);
  }

  /** Whether a step is its epoch's last. */
  public boolean endsEpoch(long step) {
    return step % stepsPerEpoch() == 0;
  }

  /**
   * Where the shards of a batch begin and end: slices as equal as it goes, larger ones first;
   * {@code shards + 1} entries. A shard may be empty.
   */
  public static int[] shardBounds(int samples, int shards) {
    int[] bounds = new int[shards + 1];
    int share = samples / shards;
    int larger = samples % shards;
    for (int v = 0; v < shards; v++) {
      bounds[v + 1] = bounds[v] + share + (v < larger ? 1 : 0);
    }
    return bounds;
  }
}
