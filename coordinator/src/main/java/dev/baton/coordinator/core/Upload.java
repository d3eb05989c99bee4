package dev.baton.coordinator.core;

import dev.baton.v1.UploadContent;

/**
 * An object in the store, or on its way there. What the table of uploads does not know, the store
 * does not hold: truth about objects is the database, never a listing.
 *
 * @param uploadId a UUID of the sender's, unique
 * @param jobId empty for a file of a data set
 * @param term of the lease under which it was begun; 0 for a file of a data set
 * @param objectKey holds job, term and a random part, so that a late upload overwrites nothing
 * @param multipartId the store's name of the multipart upload; empty for a single PUT, and until it
 *     is known
 * @param referredAtMs when its sender last asked for its URLs
 */
public record Upload(
    String uploadId,
    String jobId,
    long term,
    String objectKey,
    String multipartId,
    UploadContent content,
    long referredAtMs,
    State state) {

  /** What is to become of an object. */
  public enum State {
    /** On its way. */
    OPEN,
    /** A checkpoint, an artifact or a data set's file refers to it. */
    KEPT,
    /** Nothing refers to it any more: the sweep may take it. */
    DISCARDED,
    /** It was never committed and can be no more: the sweep is taking it. */
    EXPIRED
  }
}
