package dev.baton.coordinator.core;

import dev.baton.v1.AttemptOutcome;

/**
 * One stretch of a job on a set of workers: one lease.
 *
 * @param endedAtMs 0 while it runs
 * @param endReason empty while it runs
 * @param outcome as the worker told it; UNSPECIFIED while it runs and where no worker told
 * @param resumedStep the step of the state that it began with; -1 until it has begun
 * @param firstStep the first step it ran, from 1; 0: none known
 * @param lastStep the last step it completed and reported; 0: none
 */
public record Attempt(
    String jobId,
    Lease lease,
    long startedAtMs,
    long endedAtMs,
    String endReason,
    AttemptOutcome outcome,
    long resumedStep,
    long firstStep,
    long lastStep,
    String kind) {

  /** An attempt whose lease was just granted. */
  public static Attempt granted(String jobId, Lease lease, long startedAtMs) {
    return new Attempt(
        jobId, lease, startedAtMs, 0, "", AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED, -1, 0, 0, "");
  }

  /** Counts a job's attempts from 1: each has a term of its own. */
  public long number() {
    return lease.term();
  }

  public boolean begun() {
    return resumedStep >= 0;
  }

  public boolean ended() {
    return endedAtMs != 0;
  }

  Attempt began(long resumedStep, String kind) {
    return with(endedAtMs, endReason, outcome, resumedStep, firstStep, lastStep, kind);
  }

  /** With a step completed that it ran itself. */
  Attempt reached(long step) {
    return stepped(firstStep > 0 ? firstStep : resumedStep + 1, Math.max(lastStep, step));
  }

  Attempt stepped(long firstStep, long lastStep) {
    return with(endedAtMs, endReason, outcome, resumedStep, firstStep, lastStep, kind);
  }

  Attempt ended(long endedAtMs, String endReason, AttemptOutcome outcome) {
    return with(endedAtMs, endReason, outcome, resumedStep, firstStep, lastStep, kind);
  }

  private Attempt with(
      long endedAtMs,
      String endReason,
      AttemptOutcome outcome,
      long resumedStep,
      long firstStep,
      long lastStep,
      String kind) {
    return new Attempt(
        jobId,
        lease,
        startedAtMs,
        endedAtMs,
        endReason,
        outcome,
        resumedStep,
        firstStep,
        lastStep,
        kind);
  }
}
