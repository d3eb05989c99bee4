package dev.baton.coordinator.objectstore;

import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.v1.UploadContent;
import java.time.InstantSource;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Any S3-compatible store that somebody else runs. URLs name its endpoint. */
public final class ForeignS3 extends S3ObjectStore {
  private final String origin;

  private ForeignS3(S3Settings settings, InstantSource clock) {
    super(settings, Optional.empty(), clock);
    this.origin = settings.endpoint();
  }

  /**
   * Connects, and checks that the bucket is there or can be made.
   *
   * @throws ObjectStoreException where the store cannot be reached, or does not let us in
   */
  public static ForeignS3 open(S3Settings settings, InstantSource clock)
      throws ObjectStoreException {
    ForeignS3 store = new ForeignS3(settings, clock);
    try {
      store.openBucket();
    } catch (ObjectStoreException e) {
      store.close();
      throw e;
    }
    return store;
  }

  @Override
  String originFor(String host) {
    return origin;
  }

  // It says so itself when it is full.
  @Override
  public void continueUpload(UploadContent content) {}

  @Override
  boolean keepsChecksums() {
    return true;
  }

  // Not every store keeps checksums, nor each of the kind that we know: then it is read.
  @Override
  boolean holds(String key, UploadContent content, @Nullable String checksum)
      throws ObjectStoreException {
    return Checksums.of(content).equals(checksum) || readBack(key, content);
  }

  // What it has acknowledged is durable by S3's own promise.
  @Override
  void sync(String key) {}
}
