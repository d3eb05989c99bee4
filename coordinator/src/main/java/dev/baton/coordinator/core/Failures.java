package dev.baton.coordinator.core;

/**
 * What went wrong with a job so far.
 *
 * @param retried failures of its own that were tried again
 * @param abruptInARow abrupt ends, and errors of its workers, since the last new checkpoint
 * @param notBeforeMs milliseconds since the epoch before which it is not offered again; 0: at once
 */
public record Failures(int retried, int abruptInARow, long notBeforeMs) {
  public static final Failures NONE = new Failures(0, 0, 0);
}
