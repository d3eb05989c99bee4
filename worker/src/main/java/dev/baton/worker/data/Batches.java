package dev.baton.worker.data;

import org.jspecify.annotations.Nullable;

/** Batches in order, made ahead on threads of their own. One consumer. */
public interface Batches extends AutoCloseable {
  /**
   * The next batch, waiting for it where need be; null after the last.
   *
   * @throws dev.baton.worker.trainer.TrainingException where a sample cannot be read
   */
  @Nullable Batch next() throws InterruptedException;

  /** Nanoseconds that {@link #next} has waited, in all. */
  long waitedNanos();

  @Override
  void close();
}
