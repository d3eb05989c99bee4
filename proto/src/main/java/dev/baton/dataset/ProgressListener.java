package dev.baton.dataset;

/** Hears how a long reading gets on. Called by one thread at a time. */
@FunctionalInterface
public interface ProgressListener {
  /** Hears nothing. */
  ProgressListener NONE = (what, done, total) -> {};

  /**
   * {@code done} of {@code total} are through.
   *
   * @param what one phase after the other: "packing files", "checking pictures", "hashing bytes"
   */
  void onProgress(String what, long done, long total);
}
