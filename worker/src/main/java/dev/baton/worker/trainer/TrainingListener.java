package dev.baton.worker.trainer;

import dev.baton.v1.JoinGroup;
import dev.baton.v1.StepProgress;

/** Hears what a run does; called on the training thread, so briefly. */
public interface TrainingListener {
  /** At an attempt's first step and its last, each second between, and at a pause. */
  default void progress(StepProgress progress) {}

  /** Every {@code log_every} steps: means since the last time. */
  default void logged(long step, double loss, double samplesPerSecond, double dataWait) {}

  /** After an epoch's evaluation. */
  default void epochEnded(EpochSummary summary) {}

  /**
   * It has left the group before and waits for the others of this one.
   *
   * @param step that its state is whole after; -1: it has none
   * @param port rank 0's, where it listens for the others; else 0
   */
  default void groupWaiting(JoinGroup group, long step, int port) {}

  /** All members are at that step and go on. */
  default void groupFormed(JoinGroup group, long step) {}

  /** The group cannot go on; the state is kept, and another group awaited. */
  default void groupBroken(JoinGroup group, long step, String message) {}
}
