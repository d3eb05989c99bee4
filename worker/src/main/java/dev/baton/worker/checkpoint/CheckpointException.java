package dev.baton.worker.checkpoint;

import java.io.IOException;

/**
 * A file that cannot be resumed from: damaged, or of another job. The message is one line: which
 * file, what is wrong with it.
 */
public final class CheckpointException extends IOException {
  private static final long serialVersionUID = 1L;

  public CheckpointException(String message) {
    super(message);
  }

  public CheckpointException(String message, Throwable cause) {
    super(message, cause);
  }
}
