package dev.baton.coordinator.core;

import java.io.IOException;
import org.jspecify.annotations.Nullable;

/** The object store could not do what was asked. The message is one line, fit for the caller. */
public class ObjectStoreException extends IOException {
  private static final long serialVersionUID = 1L;

  /** What the caller can do about it. */
  public enum Kind {
    /** The object is missing, or is not what was said: upload it again. */
    MISMATCH,
    /** The disk or the quota is full. */
    NO_SPACE,
    /** The store cannot be reached, or failed: try again. */
    UNAVAILABLE
  }

  private final Kind kind;

  public ObjectStoreException(Kind kind, String message) {
    this(kind, message, null);
  }

  public ObjectStoreException(Kind kind, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.kind = kind;
  }

  /** What the caller can do about it. */
  public Kind kind() {
    return kind;
  }
}
