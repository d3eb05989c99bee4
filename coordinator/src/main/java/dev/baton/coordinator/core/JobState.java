package dev.baton.coordinator.core;

/** Where a job stands. */
public enum JobState {
  /** Waits for a worker. */
  QUEUED,
  /** Has a lease that nobody else has taken over. */
  RUNNING,
  /** Runs still, and was told to hand its lease back. Users see RUNNING. */
  PAUSING,
  /** Kept from being leased. */
  PAUSED,
  SUCCEEDED,
  FAILED,
  CANCELLED;

  /** Whether nothing more can happen to the job. */
  public boolean ended() {
    return this == SUCCEEDED || this == FAILED || this == CANCELLED;
  }

  /** Whether a lease goes with this state. */
  public boolean leased() {
    return this == RUNNING || this == PAUSING;
  }
}
