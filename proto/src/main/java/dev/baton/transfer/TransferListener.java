package dev.baton.transfer;

/** Hears how a transfer gets on. Called on the transferring thread. */
@FunctionalInterface
public interface TransferListener {
  /** Hears nothing. */
  TransferListener NONE = (done, total) -> {};

  /** {@code done} of {@code total} bytes are through. */
  void onBytes(long done, long total);
}
