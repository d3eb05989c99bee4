package dev.baton.worker.cache;

import java.io.IOException;
import org.jspecify.annotations.Nullable;

/** This worker has no room for what a job needs; trying again is of no use. */
public final class NoRoomException extends IOException {
  private static final long serialVersionUID = 1L;

  /**
   * @param message one line: what there is no room for, where, and what would make some
   */
  public NoRoomException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}
