package dev.baton.worker.lease;

import java.io.IOException;
import org.jspecify.annotations.Nullable;

/** The coordinator refuses a call, or cannot be reached. */
public final class CoordinatorException extends IOException {
  private static final long serialVersionUID = 1L;

  /** What the caller can do about it. */
  public enum Kind {
    /** The lease's term is over: stop, drop its work. An expected result. */
    TERM_OVER,
    /** Not reachable, busy or out of space: try again. */
    TRY_AGAIN,
    /** The token is unknown, expired, or not allowed to do this. */
    NOT_ALLOWED,
    /** What was named does not exist any more. */
    NOT_FOUND,
    /** The state of things forbids it; each call says what that means. */
    PRECONDITION,
    /** Anything else: a bug on one side or the other. */
    REFUSED
  }

  private final Kind kind;

  public CoordinatorException(Kind kind, String message) {
    this(kind, message, null);
  }

  public CoordinatorException(Kind kind, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.kind = kind;
  }

  public Kind kind() {
    return kind;
  }
}
