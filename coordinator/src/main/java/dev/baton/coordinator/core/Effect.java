package dev.baton.coordinator.core;

import dev.baton.v1.CoordinatorMessage;

/** What the core wants done outside once its transaction is on disk, in this order. */
public sealed interface Effect {

  /** A message to a worker, on this session of its; dropped where that stream is gone. */
  record Send(String workerId, long session, CoordinatorMessage message) implements Effect {}

  /** An older stream of a worker has lost its meaning: close it, ABORTED. */
  record CloseSession(String workerId, long session, String reason) implements Effect {}

  /** Something happened to a job, for those who watch it. */
  record Notify(String jobId, dev.baton.v1.JobEvent event) implements Effect {}

  /** The job's log grew. */
  record LogGrew(String jobId, long end) implements Effect {}

  /** The job has ended: its reports (metrics.csv, train.log) may be written. */
  record Ended(String jobId) implements Effect {}
}
