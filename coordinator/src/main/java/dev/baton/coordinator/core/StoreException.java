package dev.baton.coordinator.core;

import org.jspecify.annotations.Nullable;

/**
 * The database failed; nothing of the transaction counts. The message is one line, fit for the
 * caller.
 */
public final class StoreException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final boolean noSpace;

  /**
   * @param noSpace whether the disk is full: otherwise trying again may help
   */
  public StoreException(boolean noSpace, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.noSpace = noSpace;
  }

  /** Whether the disk is full. */
  public boolean isNoSpace() {
    return noSpace;
  }
}
