package dev.baton.client.command;

import dev.baton.v1.JobState;

/** What the process's end tells scripts. */
public final class ExitCodes {
  public static final int DONE = 0;

  /** The job failed, or the request was refused. */
  public static final int FAILED = 1;

  /** Wrong usage, or a bad file. */
  public static final int USAGE = 2;

  public static final int CANCELLED = 3;
  public static final int TIMED_OUT = 4;

  /** The coordinator cannot be reached. */
  public static final int UNREACHABLE = 5;

  private ExitCodes() {}

  /** The code for a job that has ended. */
  static int of(JobState ended) {
    return switch (ended) {
      case JOB_STATE_SUCCEEDED -> DONE;
      case JOB_STATE_CANCELLED -> CANCELLED;
      default -> FAILED;
    };
  }

  static boolean hasEnded(JobState state) {
    return switch (state) {
      case JOB_STATE_SUCCEEDED, JOB_STATE_FAILED, JOB_STATE_CANCELLED -> true;
      default -> false;
    };
  }
}
