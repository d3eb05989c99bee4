package dev.baton.worker.checkpoint;

import java.io.IOException;

/**
 * A file that cannot be resumed from: damaged, or of another job. The message is one line: which
 * file, what is wrong with it.
 */
public final class CheckpointException extends IOException {
  private static final long serialVersionUID = 1L;

  private final boolean ofAnotherRelease;

  public CheckpointException(String message) {
    this(message, false);
  }

  private CheckpointException(String message, boolean ofAnotherRelease) {
    super(message);
    this.ofAnotherRelease = ofAnotherRelease;
  }

  public CheckpointException(String message, Throwable cause) {
    super(message, cause);
    this.ofAnotherRelease = cause instanceof CheckpointException inner && inner.ofAnotherRelease();
  }

  /** A file that another release of Baton can resume from, although this one cannot. */
  static CheckpointException ofAnotherRelease(String message) {
    return new CheckpointException(message, true);
  }

  /** Whether there is nothing wrong with the file but that another release wrote it. */
  public boolean ofAnotherRelease() {
    return ofAnotherRelease;
  }
}
