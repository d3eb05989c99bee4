package dev.baton.coordinator.core;

import java.util.List;
import java.util.Optional;

/** Data sets. As {@link JobStore}: on the core's thread, inside its transaction. */
public interface DatasetStore {
  void insert(DatasetRecord dataset);

  Optional<DatasetRecord> find(String name);

  /** Any data set of this digest. */
  Optional<DatasetRecord> findByDigest(String digest);

  /** By name. */
  List<DatasetRecord> list();

  void delete(String name);
}
