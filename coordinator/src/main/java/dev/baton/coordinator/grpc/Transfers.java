package dev.baton.coordinator.grpc;

import dev.baton.coordinator.core.ObjectStore;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.StoredObject;
import dev.baton.coordinator.core.Upload;
import dev.baton.coordinator.loop.CoreLoop;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.PresignedRequest;
import dev.baton.v1.UploadTicket;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import java.util.function.Supplier;

/**
 * What the services ask of the object store, on threads that may block. Work on one upload is done
 * once at a time: a call repeated meanwhile waits for the one that is at it.
 */
final class Transfers {
  private final CoreLoop<Scheduler> loop;
  private final ObjectStore objects;
  private final Executor blocking;
  private final UrlHost urlHost;
  private final ConcurrentHashMap<String, CompletableFuture<Upload>> beginning =
      new ConcurrentHashMap<>();
  private final ConcurrentHashMap<String, CompletableFuture<Void>> verifying =
      new ConcurrentHashMap<>();

  Transfers(CoreLoop<Scheduler> loop, ObjectStore objects, Executor blocking, UrlHost urlHost) {
    this.loop = loop;
    this.objects = objects;
    this.blocking = blocking;
    this.urlHost = urlHost;
  }

  /** The work of the store, whose refusals come as the future's failure. */
  @FunctionalInterface
  private interface StoreCall<T> {
    T call() throws ObjectStoreException;
  }

  private <T> CompletableFuture<T> onStore(StoreCall<T> work) {
    return CompletableFuture.supplyAsync(
        () -> {
          try {
            return work.call();
          } catch (ObjectStoreException e) {
            throw new CompletionException(e);
          }
        },
        blocking);
  }

  private static <T> CompletableFuture<T> once(
      ConcurrentHashMap<String, CompletableFuture<T>> inFlight,
      String uploadId,
      Supplier<CompletableFuture<T>> work) {
    var promise = new CompletableFuture<T>();
    CompletableFuture<T> other = inFlight.putIfAbsent(uploadId, promise);
    if (other != null) {
      return other;
    }
    var unused =
        work.get()
            .whenComplete(
                (value, failure) -> {
                  inFlight.remove(uploadId, promise);
                  if (failure != null) {
                    promise.completeExceptionally(failure);
                  } else {
                    promise.complete(value);
                  }
                });
    return promise;
  }

  /** URLs for an upload that the core has noted. To be called on the call's own thread. */
  CompletableFuture<UploadTicket> uploadTicket(CompletableFuture<Upload> noted) {
    String host = urlHost.ofThisCall();
    return noted.thenCompose(
        upload -> {
          var ticket = UploadTicket.newBuilder().setUploadId(upload.uploadId());
          if (upload.state() != Upload.State.OPEN) {
            return CompletableFuture.completedFuture(ticket.setComplete(true).build());
          }
          return begun(upload)
              .thenCompose(
                  ready ->
                      onStore(
                          () ->
                              ticket
                                  .addAllParts(
                                      objects.presignUpload(
                                          ready.objectKey(),
                                          ready.multipartId(),
                                          ready.content(),
                                          host))
                                  .build()));
        });
  }

  private CompletableFuture<Upload> begun(Upload upload) {
    if (!upload.multipartId().isEmpty()) {
      return onStore(
          () -> {
            objects.continueUpload(upload.content());
            return upload;
          });
    }
    return once(
        beginning,
        upload.uploadId(),
        () ->
            onStore(() -> objects.beginUpload(upload.objectKey(), upload.content()))
                .thenCompose(
                    multipartId ->
                        multipartId.isEmpty()
                            ? CompletableFuture.completedFuture(upload)
                            : loop.submit(
                                (core, now) -> {
                                  core.multipartStarted(upload.uploadId(), multipartId);
                                  return withMultipart(upload, multipartId);
                                })));
  }

  private static Upload withMultipart(Upload upload, String multipartId) {
    return new Upload(
        upload.uploadId(),
        upload.jobId(),
        upload.term(),
        upload.objectKey(),
        multipartId,
        upload.content(),
        upload.referredAtMs(),
        upload.state());
  }

  /** Completes once the store has the upload whole, as it was described, and for good. */
  CompletableFuture<Void> verified(Upload upload, CompletedUpload completed) {
    if (upload.state() != Upload.State.OPEN) {
      return CompletableFuture.completedFuture(null);
    }
    return once(
        verifying,
        upload.uploadId(),
        () ->
            CompletableFuture.runAsync(
                () -> {
                  try {
                    objects.commit(
                        upload.objectKey(),
                        upload.multipartId(),
                        upload.content(),
                        completed.getEtagsList());
                  } catch (ObjectStoreException e) {
                    throw new CompletionException(e);
                  }
                },
                blocking));
  }

  /**
   * A URL for an object that does not exist, by which a caller can try the way to the store. To be
   * called on the call's own thread.
   */
  PresignedRequest probe() {
    return objects.presignGet("probe/none", urlHost.ofThisCall());
  }

  /** A URL for an object that the caller may read. To be called on the call's own thread. */
  CompletableFuture<DownloadTicket> downloadTicket(CompletableFuture<StoredObject> found) {
    String host = urlHost.ofThisCall();
    return found.thenCompose(
        object ->
            onStore(
                () ->
                    DownloadTicket.newBuilder()
                        .setRequest(objects.presignGet(object.objectKey(), host))
                        .setBytes(object.bytes())
                        .setSha256(object.sha256())
                        .build()));
  }
}
