package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.invalid;
import static dev.baton.coordinator.core.CoordinatorException.notFound;
import static dev.baton.coordinator.core.CoordinatorException.precondition;

import dev.baton.dataset.DatasetDigests;
import dev.baton.v1.Dataset;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Makes and removes data sets. */
final class DatasetWrites {
  private final CoreState state;
  private final Uploads uploads;

  DatasetWrites(CoreState state, Uploads uploads) {
    this.state = state;
    this.uploads = uploads;
  }

  /** As {@link Scheduler#commitDataset}. */
  Dataset commitDataset(Dataset said, List<String> uploadIds, Now now) {
    DatasetChecks.check(said);
    Dataset dataset =
        said.toBuilder()
            .setDigest(DatasetDigests.digest(said))
            .setCreatedAtMs(now.epochMs())
            .build();
    Optional<DatasetRecord> known = state.stores.datasets().find(dataset.getName());
    if (known.isPresent()) {
      if (!known.get().dataset().getDigest().equals(dataset.getDigest())) {
        throw precondition(
            "dataset.name: "
                + dataset.getName()
                + " exists with other contents; choose another name, or remove it first");
      }
      return known.get().dataset();
    }
    if (uploadIds.size() != dataset.getFilesCount()) {
      throw invalid(
          "uploads: there are " + uploadIds.size() + " for " + dataset.getFilesCount() + " files");
    }
    List<String> keys = new ArrayList<>();
    for (int i = 0; i < uploadIds.size(); i++) {
      Upload upload = uploads.datasetUpload(uploadIds.get(i));
      if (upload.state() != Upload.State.OPEN
          || upload.content().getBytes() != dataset.getFiles(i).getBytes()
          || !upload.content().getSha256().equals(dataset.getFiles(i).getSha256())) {
        throw invalid(
            "uploads[" + i + "]: it is not an upload of " + dataset.getFiles(i).getPath());
      }
      keys.add(upload.objectKey());
    }
    state.stores.datasets().insert(new DatasetRecord(dataset, keys));
    uploadIds.forEach(id -> state.stores.uploads().setState(id, Upload.State.KEPT));
    return dataset;
  }

  /** As {@link Scheduler#deleteDataset}. */
  void deleteDataset(String name, Now now) {
    DatasetRecord record =
        state
            .stores
            .datasets()
            .find(name)
            .orElseThrow(() -> notFound("there is no data set " + name));
    int uses = state.datasetUses.getOrDefault(name, 0);
    if (uses > 0) {
      throw precondition(
          "data set "
              + name
              + " is needed by "
              + uses
              + (uses == 1 ? " unfinished job" : " unfinished jobs"));
    }
    state.stores.datasets().delete(name);
    record.objectKeys().forEach(state.stores.uploads()::discardKey);
  }
}
