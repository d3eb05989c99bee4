package dev.baton.coordinator.core;

/** A command that was refused: one line for the caller. Nothing was changed. */
public final class CoordinatorException extends RuntimeException {

  /** What to do about it; each is the gRPC status of the same name. */
  public enum Kind {
    INVALID_ARGUMENT,
    NOT_FOUND,
    FAILED_PRECONDITION,
    PERMISSION_DENIED,
    /** The lease's term, or the session, is over: an expected result. */
    ABORTED
  }

  private final Kind kind;

  public CoordinatorException(Kind kind, String message) {
    // An expected result needs no stack trace, and is cheaper without.
    super(message, null, false, false);
    this.kind = kind;
  }

  public Kind kind() {
    return kind;
  }

  /** The message is never null. */
  @Override
  public String getMessage() {
    return String.valueOf(super.getMessage());
  }

  static CoordinatorException invalid(String message) {
    return new CoordinatorException(Kind.INVALID_ARGUMENT, message);
  }

  static CoordinatorException notFound(String message) {
    return new CoordinatorException(Kind.NOT_FOUND, message);
  }

  static CoordinatorException precondition(String message) {
    return new CoordinatorException(Kind.FAILED_PRECONDITION, message);
  }

  static CoordinatorException denied(String message) {
    return new CoordinatorException(Kind.PERMISSION_DENIED, message);
  }

  static CoordinatorException aborted(String message) {
    return new CoordinatorException(Kind.ABORTED, message);
  }
}
