package dev.baton.worker.trainer;

import dev.baton.v1.AttemptOutcome;
import org.jspecify.annotations.Nullable;

/**
 * Ends an attempt with an outcome and one line for the user: what is wrong, where, and what would
 * be right.
 */
public final class TrainingException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final AttemptOutcome outcome;

  public TrainingException(AttemptOutcome outcome, String message) {
    this(outcome, message, null);
  }

  public TrainingException(AttemptOutcome outcome, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.outcome = outcome;
  }

  /** A failure that would only repeat. */
  public static TrainingException userError(String message) {
    return new TrainingException(AttemptOutcome.ATTEMPT_OUTCOME_USER_ERROR, message);
  }

  public AttemptOutcome outcome() {
    return outcome;
  }
}
