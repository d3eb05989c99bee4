package dev.baton.coordinator.core;

/** What {@link JobTransitions#apply} answers. */
public sealed interface Transition {

  /** The job as it is next; the same one where nothing changes. */
  record Next(Job job) implements Transition {}

  /** The event has no place in the job's state. */
  record Refused(Reason reason, String message) implements Transition {}

  /** Why an event was refused. */
  enum Reason {
    /** The job has ended. */
    ENDED,
    /** No lease stands, so nobody may say this. */
    NOT_LEASED,
    /** The job does not wait for a worker. */
    NOT_QUEUED
  }
}
