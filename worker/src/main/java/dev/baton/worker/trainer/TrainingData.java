package dev.baton.worker.trainer;

import dev.baton.worker.data.BatchPlan;
import dev.baton.worker.data.Batches;
import dev.baton.worker.data.Replica;
import dev.baton.worker.data.SampleFormat;
import org.jspecify.annotations.Nullable;

/** What a run reads, cut into batches. */
public interface TrainingData extends AutoCloseable {
  /** Of the training samples. */
  SampleFormat format();

  /** How they are cut into epochs and steps. */
  BatchPlan plan();

  /** Says which engine the batches are for; called once, before the first of them. */
  default void feed(Engine engine) {}

  /** A replica's part of the batches from that step on (steps count from 1) to the job's last. */
  Batches train(long firstStep, Replica replica);

  /** Its part of one pass over the evaluation samples; null where the job has none. */
  @Nullable Batches eval(Replica replica);

  @Override
  void close();
}
