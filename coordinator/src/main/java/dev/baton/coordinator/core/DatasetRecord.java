package dev.baton.coordinator.core;

import dev.baton.v1.Dataset;
import java.util.List;

/**
 * A data set and where its files lie.
 *
 * @param objectKeys one for each of the data set's files, in its order
 */
public record DatasetRecord(Dataset dataset, List<String> objectKeys) {
  public DatasetRecord {
    objectKeys = List.copyOf(objectKeys);
    if (objectKeys.size() != dataset.getFilesCount()) {
      throw new IllegalArgumentException(
          "data set "
              + dataset.getName()
              + ": "
              + dataset.getFilesCount()
              + " files, "
              + objectKeys.size()
              + " object keys");
    }
  }
}
