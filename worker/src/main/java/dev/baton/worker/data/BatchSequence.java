package dev.baton.worker.data;

/** The batches that a {@link BatchRing} makes. Called by its thread alone. */
interface BatchSequence {
  long firstStep();

  long lastStep();

  int samplesOf(long step);

  /** Where the step's batch begins in the order. */
  int positionOf(long step);

  /** Whether the samples are taken as they lie; then {@link #order} is not called. */
  boolean inOrder();

  /** The order of the step's epoch. */
  int[] order(long step);

  /** The largest batch. */
  int maxSamples();
}
