package dev.baton.coordinator.core;

/** What {@link JobTransitions#apply} answers. */
public sealed interface Transition {

  /** The job as it is next; the same one where nothing changes. */
  record Next(Job job) implements Transition {}

  /** The event has no place in the job's state. */
  record Refused(String message) implements Transition {}
}
