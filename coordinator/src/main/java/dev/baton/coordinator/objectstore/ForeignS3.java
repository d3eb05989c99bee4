package dev.baton.coordinator.objectstore;

import dev.baton.coordinator.core.ObjectStoreException;
import java.time.InstantSource;

/** Any S3-compatible store that somebody else runs. URLs name its endpoint. */
public final class ForeignS3 extends S3ObjectStore {
  private final String origin;

  private ForeignS3(S3Settings settings, InstantSource clock) {
    super(settings, clock);
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

  // What it has acknowledged is durable by S3's own promise.
  @Override
  void sync(String key) {}
}
