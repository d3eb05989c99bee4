package dev.baton.worker.trainer;

import org.jspecify.annotations.Nullable;

/**
 * A group of replicas cannot go on: a member is gone or silent, or the group was told to end. The
 * world's doing, never the job's; those that are left form another group.
 */
public final class GroupBrokenException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final boolean stateWhole;

  /**
   * A break that left this replica's state as it was.
   *
   * @param message one line: what was being done, and what libtorch says of it
   */
  public GroupBrokenException(String message, @Nullable Throwable cause) {
    this(message, true, cause);
  }

  /**
   * @param stateWhole false where another replica's state had arrived in part
   */
  public GroupBrokenException(String message, boolean stateWhole, @Nullable Throwable cause) {
    super(message, cause);
    this.stateWhole = stateWhole;
  }

  /** Whether this replica's state is that after its last whole step; else it has none. */
  public boolean stateWhole() {
    return stateWhole;
  }
}
