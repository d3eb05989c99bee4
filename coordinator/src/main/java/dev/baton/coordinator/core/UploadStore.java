package dev.baton.coordinator.core;

import java.util.List;
import java.util.Optional;

/** Objects. As {@link JobStore}: on the core's thread, inside its transaction. */
public interface UploadStore {
  void insert(Upload upload);

  Optional<Upload> find(String uploadId);

  void setMultipartId(String uploadId, String multipartId);

  void setState(String uploadId, Upload.State state);

  /** Its sender asks for its URLs again. */
  void setReferredAt(String uploadId, long atMs);

  /** The state of the upload of this object becomes DISCARDED. */
  void discardKey(String objectKey);

  /** Whether an upload has this key: the sweep leaves its object alone. */
  boolean knowsKey(String objectKey);

  /**
   * What the sweep may take: what is DISCARDED or EXPIRED; what is OPEN and belongs to a term older
   * than its job's newest; what is OPEN and was last referred to before {@code openBeforeMs},
   * unless its job is leased at that very term.
   */
  List<Upload> sweepable(long openBeforeMs, int limit);

  /** Forgets an upload whose object is gone. */
  void delete(String uploadId);
}
