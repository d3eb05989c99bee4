package dev.baton.coordinator.core;

import java.util.List;
import java.util.Optional;

/** Data sets. As {@link JobStore}: on the core's thread, inside its transaction. */
public interface DatasetStore {
  void insert(DatasetRecord dataset);

  Optional<DatasetRecord> find(String name);

  /** By name. */
  List<DatasetRecord> list();

  void delete(String name);
}
