package dev.baton.coordinator.core;

/** One transaction at a time over every store, on the core's thread. */
public interface Transactions {
  void begin();

  /** Returns once everything since {@link #begin} is on disk. */
  void commit();

  void rollback();
}
