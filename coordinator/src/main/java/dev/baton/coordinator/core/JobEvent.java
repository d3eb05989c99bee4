package dev.baton.coordinator.core;

import dev.baton.v1.Progress;
import dev.baton.v1.Result;

/** What can happen to a job. {@link JobTransitions} says what becomes of it. */
public sealed interface JobEvent {

  /** A worker got the next term. {@code machine} is what the core sees of its kind. */
  record Granted(Lease lease, String machine) implements JobEvent {}

  /** Those who run it go on with others or without some, in the next term. */
  record Regrouped(Lease lease) implements JobEvent {}

  /** The attempt's state is restored, on this kind. */
  record Began(String kind) implements JobEvent {}

  /** A checkpoint was committed. */
  record Committed(Progress progress) implements JobEvent {}

  /** The lease was given back, or is known not to be held. Costs nothing. */
  record Released(String reason) implements JobEvent {}

  /** Nobody hears of the holder, and somebody else is about to take the next term. */
  record Lost(String reason) implements JobEvent {}

  /** The trainer was killed from outside. */
  record Killed(String message) implements JobEvent {}

  /** The trainer crashed or stalled: a failure of the job's own that may not repeat. */
  record Crashed(String message) implements JobEvent {}

  /** A worker gave the offer back unstarted; the job is not offered before this time. */
  record Declined(String message, long notBeforeMs) implements JobEvent {}

  /** Something of the worker's own went wrong; the job is not offered before this time. */
  record WorkerFailed(String message, long notBeforeMs) implements JobEvent {}

  /** A failure that would only repeat. */
  record Failed(String message) implements JobEvent {}

  /** The job is done. */
  record Succeeded(Result result, Progress progress) implements JobEvent {}

  /** Its user wants it ended. */
  record Cancel() implements JobEvent {}

  /** Its user wants it kept from being leased. */
  record Pause() implements JobEvent {}

  /** Its user wants it leased again. */
  record Resume() implements JobEvent {}
}
