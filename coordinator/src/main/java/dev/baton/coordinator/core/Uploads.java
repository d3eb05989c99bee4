package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.denied;
import static dev.baton.coordinator.core.CoordinatorException.invalid;
import static dev.baton.coordinator.core.CoordinatorException.notFound;
import static dev.baton.coordinator.core.CoordinatorException.precondition;

import dev.baton.v1.CreateDownloadRequest;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFileRef;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.UploadContent;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Objects that workers and clients send and fetch. */
final class Uploads {
  private final CoreState state;

  Uploads(CoreState state) {
    this.state = state;
  }

  /** As {@link Scheduler#createUpload}. */
  Upload createUpload(CreateUploadRequest request, Now now) {
    Running held = state.liveFirst(request.getLease(), "CreateUpload");
    return createUpload(
        request.getUploadId(),
        held.job.id(),
        held.lease().term(),
        ObjectKeys.forJob(held.job.id(), held.lease().term()),
        request.getContent(),
        now);
  }

  private Upload createUpload(
      String uploadId, String jobId, long term, String key, UploadContent content, Now now) {
    if (uploadId.isEmpty() || uploadId.length() > 100) {
      throw invalid("upload_id: it must be a random UUID");
    }
    Optional<Upload> known = state.stores.uploads().find(uploadId);
    if (known.isPresent()) {
      Upload upload = known.get();
      if (!upload.jobId().equals(jobId)
          || upload.term() != term
          || !upload.content().equals(content)) {
        throw invalid("upload_id: " + uploadId + " names another upload; use a new UUID for each");
      }
      if (upload.state() == Upload.State.DISCARDED || upload.state() == Upload.State.EXPIRED) {
        throw precondition(
            "upload_id: " + uploadId + " is over and being removed; use a new UUID, or wait");
      }
      if (upload.state() == Upload.State.OPEN) {
        state.stores.uploads().setReferredAt(uploadId, now.epochMs());
      }
      return upload;
    }
    if (content.getBytes() < 1
        || content.getPartsCount() < 1
        || content.getPartsList().stream().mapToLong(p -> p.getBytes()).sum()
            != content.getBytes()) {
      throw invalid("content.parts: their bytes must add up to content.bytes, at least 1");
    }
    Upload upload =
        new Upload(uploadId, jobId, term, key, "", content, now.epochMs(), Upload.State.OPEN);
    state.stores.uploads().insert(upload);
    return upload;
  }

  /** As {@link Scheduler#multipartStarted}. */
  void multipartStarted(String uploadId, String multipartId) {
    state.stores.uploads().setMultipartId(uploadId, multipartId);
  }

  /** As {@link Scheduler#uploadOf}. */
  Upload uploadOf(LeaseRef lease, String uploadId) {
    Optional<Upload> known = state.stores.uploads().find(uploadId);
    if (known.isEmpty() || known.get().state() == Upload.State.EXPIRED) {
      // Of a term that is over, the sweep may have taken it.
      state.live(lease);
      throw precondition("upload_id: there is no upload " + uploadId + " any more; send it again");
    }
    Upload upload = known.get();
    if (!upload.jobId().equals(lease.getJobId()) || upload.term() != lease.getTerm()) {
      throw invalid("upload_id: " + uploadId + " does not belong to this lease");
    }
    if (upload.state() == Upload.State.OPEN) {
      state.live(lease);
    } else {
      state.attemptOf(lease);
    }
    return upload;
  }

  /** As {@link Scheduler#createDatasetUpload}. */
  Upload createDatasetUpload(String uploadId, UploadContent content, Now now) {
    return createUpload(uploadId, "", 0, ObjectKeys.forDataset(), content, now);
  }

  /** As {@link Scheduler#datasetUpload}. */
  Upload datasetUpload(String uploadId) {
    return state
        .stores
        .uploads()
        .find(uploadId)
        .filter(u -> u.jobId().isEmpty() && u.state() != Upload.State.EXPIRED)
        .orElseThrow(
            () ->
                invalid("upload_id: there is no upload " + uploadId + " any more; send it again"));
  }

  /** As {@link Scheduler#download}. */
  StoredObject download(CreateDownloadRequest request) {
    String jobId = request.getJobId();
    @Nullable Worker worker = state.fleet.find(request.getWorkerId());
    if (worker == null || !(worker.holds(jobId) || worker.told.containsKey(jobId))) {
      throw denied("this worker neither holds job " + jobId + " nor was told to prepare it");
    }
    return switch (request.getObjectCase()) {
      case DATASET_FILE -> datasetFile(state.find(jobId), request.getDatasetFile());
      case CHECKPOINT_ID ->
          state.jobs.checkpoints(jobId).stream()
              .filter(c -> c.id().equals(request.getCheckpointId()))
              .findFirst()
              .map(c -> new StoredObject(c.objectKey(), c.bytes(), c.sha256()))
              .orElseThrow(
                  () ->
                      notFound("job " + jobId + " has no checkpoint " + request.getCheckpointId()));
      case OBJECT_NOT_SET -> throw invalid("object: it must be set");
    };
  }

  private StoredObject datasetFile(Job job, DatasetFileRef file) {
    for (DatasetRecord record : state.datasets(job.spec())) {
      Dataset dataset = record.dataset();
      for (int i = 0; i < dataset.getFilesCount(); i++) {
        if (dataset.getDigest().equals(file.getDigest())
            && dataset.getFiles(i).getPath().equals(file.getPath())) {
          return new StoredObject(
              record.objectKeys().get(i),
              dataset.getFiles(i).getBytes(),
              dataset.getFiles(i).getSha256());
        }
      }
    }
    throw notFound(
        "job "
            + job.id()
            + " names no data set of digest "
            + file.getDigest()
            + " with a file "
            + file.getPath());
  }
}
