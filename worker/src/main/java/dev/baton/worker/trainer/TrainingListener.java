package dev.baton.worker.trainer;

import dev.baton.v1.Progress;

/** Hears what a run does; called on the training thread, so briefly. */
public interface TrainingListener {
  /** At an attempt's first step and its last, each second between, and at a pause. */
  default void progress(Progress progress) {}

  /** Every {@code log_every} steps: means since the last time. */
  default void logged(long step, double loss, double samplesPerSecond, double dataWait) {}

  /** After an epoch's evaluation. */
  default void epochEnded(EpochSummary summary) {}
}
