package dev.baton.coordinator.core;

import dev.baton.v1.PresignedRequest;
import dev.baton.v1.UploadContent;
import java.io.File;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * Port: the S3-compatible store for checkpoints, data sets and artifacts. Workers and clients move
 * bytes through presigned URLs; the coordinator alone holds the credentials. Calls block; any
 * number of threads may make them. Keys come from {@link ObjectKeys}.
 *
 * <p>An object's way: {@link #beginUpload}, remember what it returned, {@link #presignUpload} as
 * often as the sender asks, {@link #commit}. Where {@code host} is asked for, it is the host by
 * which the caller reached the coordinator; an embedded store's URLs name it, those of a foreign
 * one name its own endpoint.
 */
public interface ObjectStore extends AutoCloseable {

  /**
   * Makes a key ready to be written.
   *
   * @return the store's id of the multipart upload, to be handed to the calls below; empty where
   *     the content is of one part
   * @throws ObjectStoreException of kind NO_SPACE where it is known that the content does not fit
   */
  String beginUpload(String key, UploadContent content) throws ObjectStoreException;

  /**
   * Asked before the sender of a multipart upload that was begun tries once more.
   *
   * @throws ObjectStoreException of kind NO_SPACE where it is known that the rest does not fit
   */
  void continueUpload(UploadContent content) throws ObjectStoreException;

  /**
   * One request for each part of the content, valid for 15 minutes. Each carries the part's
   * checksum, which the store verifies, and can write nothing but this key; an object of one part
   * can be written once.
   */
  List<PresignedRequest> presignUpload(
      String key, String multipartId, UploadContent content, String host);

  /**
   * Makes an upload's object exist for good: completes it, compares its size and checksums with
   * what was said of it, and makes it survive a power cut where that is ours to do. Idempotent.
   *
   * @param etags of the parts, without quotes
   * @throws ObjectStoreException of kind MISMATCH where the object, or a part of it, is missing or
   *     differs
   */
  void commit(String key, String multipartId, UploadContent content, List<String> etags)
      throws ObjectStoreException;

  /** Forgets an upload that was begun, with the parts it has. Idempotent. */
  void abortUpload(String key, String multipartId) throws ObjectStoreException;

  /** A request for the whole object, or a range of it; valid for 15 minutes. */
  PresignedRequest presignGet(String key, String host);

  /** What lies under a key; empty where nothing does. */
  Optional<Stat> stat(String key) throws ObjectStoreException;

  /** Stores what the coordinator itself has made (a few MiB at most), durably. Replaces. */
  void put(String key, byte[] bytes) throws ObjectStoreException;

  /**
   * As the other, from a file, which may be larger than memory.
   *
   * @param sha256 of its bytes, in hex
   */
  void put(String key, File file, String sha256) throws ObjectStoreException;

  /** Removes an object. Idempotent. */
  void delete(String key) throws ObjectStoreException;

  /**
   * Marks the store as this database's, unless it is another's already.
   *
   * @param database a database's random id
   * @return the id of the database whose store this is
   */
  String claim(String database) throws ObjectStoreException;

  /**
   * Removes what was left over: objects last written before {@code before}, and multipart uploads
   * begun before then, whose keys are of our own form ({@link ObjectKeys#isOne}) and pass {@code
   * unreferenced}. One that cannot be removed is logged, and the others go.
   *
   * @return the number of objects and uploads removed
   */
  int sweep(Instant before, Predicate<String> unreferenced) throws ObjectStoreException;

  @Override
  void close();

  /**
   * An object as the store describes it.
   *
   * @param bytes its size
   */
  record Stat(String key, long bytes, Instant modified) {}
}
