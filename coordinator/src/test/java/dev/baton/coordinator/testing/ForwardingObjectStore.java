package dev.baton.coordinator.testing;

import dev.baton.coordinator.core.ObjectStore;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.v1.PresignedRequest;
import dev.baton.v1.UploadContent;
import java.io.File;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/** Another store, for tests that let some of its calls fail. */
public class ForwardingObjectStore implements ObjectStore {
  private final ObjectStore store;

  public ForwardingObjectStore(ObjectStore store) {
    this.store = store;
  }

  @Override
  public String beginUpload(String key, UploadContent content) throws ObjectStoreException {
    return store.beginUpload(key, content);
  }

  @Override
  public void continueUpload(UploadContent content) throws ObjectStoreException {
    store.continueUpload(content);
  }

  @Override
  public List<PresignedRequest> presignUpload(
      String key, String multipartId, UploadContent content, String host) {
    return store.presignUpload(key, multipartId, content, host);
  }

  @Override
  public void commit(String key, String multipartId, UploadContent content, List<String> etags)
      throws ObjectStoreException {
    store.commit(key, multipartId, content, etags);
  }

  @Override
  public void abortUpload(String key, String multipartId) throws ObjectStoreException {
    store.abortUpload(key, multipartId);
  }

  @Override
  public PresignedRequest presignGet(String key, String host) {
    return store.presignGet(key, host);
  }

  @Override
  public Optional<Stat> stat(String key) throws ObjectStoreException {
    return store.stat(key);
  }

  @Override
  public void put(String key, byte[] bytes) throws ObjectStoreException {
    store.put(key, bytes);
  }

  @Override
  public void put(String key, File file, String sha256) throws ObjectStoreException {
    store.put(key, file, sha256);
  }

  @Override
  public void delete(String key) throws ObjectStoreException {
    store.delete(key);
  }

  @Override
  public String claim(String database) throws ObjectStoreException {
    return store.claim(database);
  }

  @Override
  public int sweep(Instant before, Predicate<String> unreferenced) throws ObjectStoreException {
    return store.sweep(before, unreferenced);
  }

  @Override
  public void close() {
    store.close();
  }
}
