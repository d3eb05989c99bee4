package dev.baton.coordinator.objectstore;

import dev.baton.coordinator.core.ObjectKeys;
import dev.baton.coordinator.core.ObjectStore;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.ObjectStoreException.Kind;
import dev.baton.rpc.PinnedTrust;
import dev.baton.v1.PresignedRequest;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadPart;
import io.minio.AbortMultipartUploadArgs;
import io.minio.BucketExistsArgs;
import io.minio.CompleteMultipartUploadArgs;
import io.minio.CreateMultipartUploadArgs;
import io.minio.GetObjectArgs;
import io.minio.HeadObjectArgs;
import io.minio.HeadObjectResponse;
import io.minio.Http;
import io.minio.ListMultipartUploadsArgs;
import io.minio.ListObjectsArgs;
import io.minio.MakeBucketArgs;
import io.minio.MinioAsyncClient;
import io.minio.PutObjectAPIArgs;
import io.minio.RemoveObjectArgs;
import io.minio.Result;
import io.minio.errors.ErrorResponseException;
import io.minio.errors.MinioException;
import io.minio.errors.ServerException;
import io.minio.messages.Item;
import io.minio.messages.ListMultipartUploadsResult;
import io.minio.messages.Part;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Consumer;
import java.util.function.Predicate;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What both stores share: the S3 calls themselves, over the minio client, and the rules of an
 * object's way into the store.
 *
 * <p>A PUT's URL signs the checksum and the length of what it may carry, and an object of one part
 * goes only where nothing lies yet (If-None-Match). So one URL can bring in one content, once.
 */
abstract sealed class S3ObjectStore implements ObjectStore permits EmbeddedS3, ForeignS3 {
  private static final Logger log = LoggerFactory.getLogger(S3ObjectStore.class);

  /** Holds the id of the database whose coordinator may sweep. */
  static final String OWNER = "baton/owner";

  private static final int MAX_OWNER_BYTES = 256;
  private static final Duration URL_VALIDITY = Duration.ofMinutes(15);
  private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(10);
  // Completing a large upload may copy it.
  private static final Duration CALL_TIMEOUT = Duration.ofMinutes(10);
  private static final Set<String> NOT_THERE = Set.of("NoSuchKey", "NoSuchUpload");
  private static final Set<String> NOT_AS_SAID =
      Set.of(
          "InvalidPart",
          "InvalidPartOrder",
          "EntityTooSmall",
          "BadDigest",
          "InvalidRequest",
          "XAmzContentSHA256Mismatch",
          "XAmzContentChecksumMismatch");
  private static final Set<String> FULL =
      Set.of("XMinioStorageFull", "QuotaExceeded", "InsufficientStorage", "InsufficientCapacity");

  private final S3Settings settings;
  private final InstantSource clock;
  private final MinioAsyncClient client;
  private final Presigner presigner;

  /**
   * @param trust where it is not that of the system's roots
   */
  S3ObjectStore(S3Settings settings, Optional<PinnedTrust> trust, InstantSource clock) {
    this.settings = settings;
    this.clock = clock;
    this.client =
        MinioAsyncClient.builder()
            .endpoint(settings.endpoint())
            .region(settings.region())
            .credentials(settings.accessKey(), settings.secretKey())
            .httpClient(httpClient(trust), true)
            .build();
    client.disableVirtualStyleEndpoint();
    this.presigner = new Presigner(settings.region(), settings.accessKey(), settings.secretKey());
  }

  // Not minio's own: that one reads every certificate of the machine first, which takes a second.
  private static OkHttpClient httpClient(Optional<PinnedTrust> trust) {
    OkHttpClient.Builder client =
        new OkHttpClient.Builder()
            .protocols(List.of(Protocol.HTTP_1_1))
            .connectTimeout(CONNECT_TIMEOUT)
            .writeTimeout(CALL_TIMEOUT)
            .readTimeout(CALL_TIMEOUT);
    // The key says whose it is; the name by which it is reached does not matter then.
    trust.ifPresent(
        pinned ->
            client
                .sslSocketFactory(pinned.context().getSocketFactory(), pinned)
                .hostnameVerifier((host, session) -> true));
    return client.build();
  }

  /** Scheme, host and port for somebody who reached the coordinator by this host. */
  abstract String originFor(String host);

  /** Whether the store itself reckons the checksums of uploads of many parts. */
  abstract boolean keepsChecksums();

  /**
   * Whether an object that is there is what was promised.
   *
   * @param checksum what the store says; null where it says nothing
   */
  abstract boolean holds(String key, UploadContent content, @Nullable String checksum)
      throws ObjectStoreException;

  /** Makes what lies under a key survive a power cut, where that is ours to do. */
  abstract void sync(String key) throws ObjectStoreException;

  /** Lists every object that may be ours. */
  void forEachObject(Consumer<Stat> consumer) throws ObjectStoreException {
    for (String prefix : ObjectKeys.prefixes()) {
      forEachObject(prefix, consumer);
    }
  }

  private void forEachObject(String prefix, Consumer<Stat> consumer) throws ObjectStoreException {
    Iterable<Result<Item>> items =
        client.listObjects(
            ListObjectsArgs.builder()
                .bucket(settings.bucket())
                .prefix(prefix)
                .recursive(true)
                .build());
    for (Result<Item> result : items) {
      try {
        Item item = result.get();
        consumer.accept(new Stat(item.objectName(), item.size(), item.lastModified().toInstant()));
      } catch (MinioException e) {
        throw translate("listing objects", e);
      }
    }
  }

  /** Checks that the bucket is there for us, or makes it. */
  final void openBucket() throws ObjectStoreException {
    boolean exists =
        call(
            "looking for bucket " + settings.bucket(),
            () ->
                client.bucketExists(BucketExistsArgs.builder().bucket(settings.bucket()).build()));
    if (!exists) {
      call(
          "creating bucket " + settings.bucket(),
          () -> client.makeBucket(MakeBucketArgs.builder().bucket(settings.bucket()).build()));
    }
  }

  @Override
  public String beginUpload(String key, UploadContent content) throws ObjectStoreException {
    if (content.getPartsCount() <= 1) {
      return "";
    }
    return call(
        "beginning upload " + key,
        () ->
            client
                .createMultipartUpload(
                    CreateMultipartUploadArgs.builder()
                        .bucket(settings.bucket())
                        .object(key)
                        .extraHeaders(
                            keepsChecksums()
                                ? Map.of("x-amz-checksum-algorithm", "CRC32C")
                                : Map.of())
                        .build())
                .thenApply(response -> response.result().uploadId()));
  }

  @Override
  public final List<PresignedRequest> presignUpload(
      String key, String multipartId, UploadContent content, String host) {
    List<PresignedRequest> requests = new ArrayList<>();
    for (UploadPart part : content.getPartsList()) {
      Map<String, String> query = new LinkedHashMap<>();
      Map<String, String> headers = new LinkedHashMap<>();
      headers.put(Checksums.HEADER, Checksums.of(part));
      if (multipartId.isEmpty()) {
        headers.put("if-none-match", "*");
      } else {
        query.put("partNumber", Integer.toString(requests.size() + 1));
        query.put("uploadId", multipartId);
      }
      Map<String, String> signed = new LinkedHashMap<>(headers);
      signed.put("content-length", Long.toString(part.getBytes()));
      requests.add(
          PresignedRequest.newBuilder()
              .setUrl(presign("PUT", key, query, signed, host))
              .putAllHeaders(headers)
              .build());
    }
    return requests;
  }

  @Override
  public final PresignedRequest presignGet(String key, String host) {
    return PresignedRequest.newBuilder()
        .setUrl(presign("GET", key, Map.of(), Map.of(), host))
        .build();
  }

  private String presign(
      String method,
      String key,
      Map<String, String> query,
      Map<String, String> headers,
      String host) {
    return presigner.presign(
        method,
        originFor(host),
        "/" + settings.bucket() + "/" + key,
        query,
        headers,
        clock.instant(),
        URL_VALIDITY);
  }

  @Override
  public final void commit(
      String key, String multipartId, UploadContent content, List<String> etags)
      throws ObjectStoreException {
    // A repeated commit, or a sender that was told that its upload is complete, has nothing to
    // join.
    if (!multipartId.isEmpty() && etags.size() == content.getPartsCount()) {
      complete(key, multipartId, content, etags);
    }
    verify(key, content);
    sync(key);
  }

  private void complete(String key, String multipartId, UploadContent content, List<String> etags)
      throws ObjectStoreException {
    if (stat(key).isEmpty()) {
      // Said here, as a server that joins parts slowly has no status left to say it with.
      continueUpload(content);
    }
    Part[] parts = new Part[etags.size()];
    for (int i = 0; i < parts.length; i++) {
      String checksum = keepsChecksums() ? Checksums.of(content.getParts(i)) : null;
      parts[i] = new Part(i + 1, etags.get(i), null, checksum, null, null, null);
    }
    try {
      call(
          "completing upload " + key,
          () ->
              client.completeMultipartUpload(
                  CompleteMultipartUploadArgs.builder()
                      .bucket(settings.bucket())
                      .object(key)
                      .uploadId(multipartId)
                      .parts(parts)
                      .build()));
    } catch (NotThereException e) {
      // Completed before, or aborted: the object says which.
    }
  }

  private void verify(String key, UploadContent content) throws ObjectStoreException {
    HeadObjectResponse head =
        head(key).orElseThrow(() -> mismatch("object " + key + " is not in the store"));
    if (head.size() != content.getBytes()) {
      throw refuse(
          key, "has %d bytes, not the %d promised".formatted(head.size(), content.getBytes()));
    }
    if (!holds(key, content, head.headers().get(Checksums.HEADER))) {
      throw refuse(key, "is not what was promised (CRC-32C)");
    }
  }

  // What is wrong stays wrong, and would keep the right bytes from being written.
  private ObjectStoreException refuse(String key, String what) throws ObjectStoreException {
    delete(key);
    return mismatch("object " + key + " " + what);
  }

  /** As {@link #holds}, by reading it over the network. */
  final boolean readBack(String key, UploadContent content) throws ObjectStoreException {
    try (InputStream bytes = read(key)) {
      return Checksums.match(content, bytes);
    } catch (ObjectStoreException e) {
      throw e;
    } catch (IOException e) {
      throw translate("reading " + key, e);
    }
  }

  private InputStream read(String key) throws ObjectStoreException {
    return call(
        "reading " + key,
        () ->
            client.getObject(
                GetObjectArgs.builder().bucket(settings.bucket()).object(key).build()));
  }

  @Override
  public final void abortUpload(String key, String multipartId) throws ObjectStoreException {
    if (multipartId.isEmpty()) {
      delete(key);
      return;
    }
    try {
      call(
          "aborting upload " + key,
          () ->
              client.abortMultipartUpload(
                  AbortMultipartUploadArgs.builder()
                      .bucket(settings.bucket())
                      .object(key)
                      .uploadId(multipartId)
                      .build()));
    } catch (NotThereException e) {
      // Idempotent.
    }
  }

  @Override
  public final Optional<Stat> stat(String key) throws ObjectStoreException {
    return head(key).map(head -> new Stat(key, head.size(), head.lastModified().toInstant()));
  }

  private Optional<HeadObjectResponse> head(String key) throws ObjectStoreException {
    try {
      return Optional.of(
          call(
              "looking for " + key,
              () ->
                  client.headObject(
                      HeadObjectArgs.builder()
                          .bucket(settings.bucket())
                          .object(key)
                          .extraHeaders(Map.of("x-amz-checksum-mode", "ENABLED"))
                          .build())));
    } catch (NotThereException e) {
      return Optional.empty();
    }
  }

  @Override
  public final void put(String key, byte[] bytes) throws ObjectStoreException {
    call(
        "writing " + key,
        () ->
            client.putObject(
                PutObjectAPIArgs.builder()
                    .bucket(settings.bucket())
                    .object(key)
                    .data(bytes, bytes.length)
                    .build()));
    sync(key);
  }

  @Override
  public final void put(String key, File file, String sha256) throws ObjectStoreException {
    try (var bytes = new RandomAccessFile(file, "r")) {
      long length = bytes.length();
      call(
          "writing " + key,
          () ->
              client.putObject(
                  PutObjectAPIArgs.builder()
                      .bucket(settings.bucket())
                      .object(key)
                      .file(bytes, length)
                      // Where it reckons this itself, the client leaves the file read to its end.
                      .headers(new Http.Headers("X-Amz-Content-Sha256", sha256))
                      .build()));
    } catch (ObjectStoreException e) {
      throw e;
    } catch (IOException e) {
      throw translate("writing " + key, e);
    }
    sync(key);
  }

  @Override
  public final String claim(String database) throws ObjectStoreException {
    Optional<String> owner = owner();
    if (owner.isPresent()) {
      return owner.get();
    }
    byte[] bytes = database.getBytes(StandardCharsets.US_ASCII);
    try {
      call(
          "writing " + OWNER,
          () ->
              client.putObject(
                  PutObjectAPIArgs.builder()
                      .bucket(settings.bucket())
                      .object(OWNER)
                      .extraHeaders(Map.of("If-None-Match", "*"))
                      .data(bytes, bytes.length)
                      .build()));
    } catch (ObjectStoreException e) {
      // Another may have been faster.
      return owner().orElseThrow(() -> e);
    }
    sync(OWNER);
    // And a store may know no conditions.
    return owner().orElse(database);
  }

  /** The id of the database that has claimed the store, if one has. */
  public final Optional<String> owner() throws ObjectStoreException {
    if (stat(OWNER).isEmpty()) {
      return Optional.empty();
    }
    try (InputStream bytes = read(OWNER)) {
      return Optional.of(
          new String(bytes.readNBytes(MAX_OWNER_BYTES), StandardCharsets.UTF_8).strip());
    } catch (ObjectStoreException e) {
      throw e;
    } catch (IOException e) {
      throw translate("reading " + OWNER, e);
    }
  }

  @Override
  public final void delete(String key) throws ObjectStoreException {
    try {
      call(
          "deleting " + key,
          () ->
              client.removeObject(
                  RemoveObjectArgs.builder().bucket(settings.bucket()).object(key).build()));
    } catch (NotThereException e) {
      // Idempotent.
    }
  }

  @Override
  public int sweep(Instant before, Predicate<String> unreferenced) throws ObjectStoreException {
    List<String> leftovers = new ArrayList<>();
    forEachObject(
        object -> {
          if (object.modified().isBefore(before) && isLeftOver(object.key(), unreferenced)) {
            leftovers.add(object.key());
          }
        });
    int removed = 0;
    for (String key : leftovers) {
      if (removes(key, () -> delete(key))) {
        removed++;
      }
    }
    return removed + abortUploadsBegunBefore(before, unreferenced);
  }

  private static boolean isLeftOver(String key, Predicate<String> unreferenced) {
    return ObjectKeys.isOne(key) && unreferenced.test(key);
  }

  private interface Removal {
    void run() throws ObjectStoreException;
  }

  // One that stays must not keep the others.
  private static boolean removes(String key, Removal removal) {
    try {
      removal.run();
      return true;
    } catch (ObjectStoreException e) {
      log.warn("left over and not removed: {}: {}", key, e.getMessage());
      return false;
    }
  }

  int abortUploadsBegunBefore(Instant before, Predicate<String> unreferenced)
      throws ObjectStoreException {
    int aborted = 0;
    String keyMarker = "";
    String uploadMarker = "";
    ListMultipartUploadsResult page;
    do {
      ListMultipartUploadsArgs.Builder args =
          ListMultipartUploadsArgs.builder().bucket(settings.bucket());
      if (!keyMarker.isEmpty()) {
        args.keyMarker(keyMarker).uploadIdMarker(uploadMarker);
      }
      page =
          call(
              "listing uploads",
              () -> client.listMultipartUploads(args.build()).thenApply(r -> r.result()));
      for (ListMultipartUploadsResult.Upload upload : page.uploads()) {
        String key = upload.objectName();
        if (upload.initiated().toInstant().isBefore(before)
            && isLeftOver(key, unreferenced)
            && removes(key, () -> abortUpload(key, upload.uploadId()))) {
          aborted++;
        }
      }
      keyMarker = page.nextKeyMarker() == null ? "" : page.nextKeyMarker();
      uploadMarker = page.nextUploadIdMarker() == null ? "" : page.nextUploadIdMarker();
    } while (page.isTruncated() && !keyMarker.isEmpty());
    return aborted;
  }

  @Override
  public void close() {
    client.close();
  }

  private interface Call<T> {
    CompletableFuture<T> start() throws MinioException;
  }

  private <T> T call(String doing, Call<T> call) throws ObjectStoreException {
    try {
      return call.start().join();
    } catch (MinioException | CompletionException e) {
      throw translate(doing, e);
    }
  }

  /** One line that says what failed and why. */
  ObjectStoreException translate(String doing, Throwable thrown) {
    Throwable cause = thrown;
    while (cause.getCause() != null
        && (cause instanceof CompletionException || cause.getClass() == MinioException.class)) {
      cause = cause.getCause();
    }
    String what = "object store " + settings + ", " + doing + ": ";
    if (cause instanceof ErrorResponseException refused) {
      String code = String.valueOf(refused.errorResponse().code());
      int status = refused.response().code();
      if (NOT_THERE.contains(code) || (status == 404 && !code.equals("NoSuchBucket"))) {
        return new NotThereException(what + code);
      }
      String message = code + " (" + refused.errorResponse().message() + ")";
      if (FULL.contains(code) || status == 507) {
        return new ObjectStoreException(Kind.NO_SPACE, what + message, thrown);
      }
      return new ObjectStoreException(
          NOT_AS_SAID.contains(code) ? Kind.MISMATCH : Kind.UNAVAILABLE, what + message, thrown);
    }
    if (cause instanceof ServerException failed && failed.statusCode() == 404) {
      return new NotThereException(what + "not found");
    }
    return new ObjectStoreException(Kind.UNAVAILABLE, what + cause.getMessage(), thrown);
  }

  private static ObjectStoreException mismatch(String message) {
    return new ObjectStoreException(Kind.MISMATCH, message);
  }
}
