package dev.baton.coordinator.objectstore;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.coordinator.core.ObjectKeys;
import dev.baton.coordinator.core.ObjectStore;
import dev.baton.coordinator.core.ObjectStore.Stat;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.ObjectStoreException.Kind;
import dev.baton.transfer.Contents;
import dev.baton.transfer.HttpObjectTransfer;
import dev.baton.transfer.Retries;
import dev.baton.transfer.TransferListener;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.PresignedRequest;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadTicket;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What every object store must do; one subclass for each. */
@Timeout(60)
abstract class ObjectStoreContract {
  // The smallest that S3 allows to any part but the last.
  private static final int PART = 5 << 20;
  private static final String HOST = "127.0.0.1";

  @TempDir Path dir;
  private final HttpClient http = HttpClient.newHttpClient();
  private final HttpObjectTransfer transfer =
      new HttpObjectTransfer(
          new Retries(3, Duration.ofMillis(1), Duration.ofMillis(2), Duration.ofSeconds(20)));
  private final AtomicReference<Duration> clockOffset = new AtomicReference<>(Duration.ZERO);

  @SuppressWarnings("NullAway.Init") // by openStore
  private ObjectStore store;

  /** A store whose URLs are signed at that time. */
  abstract ObjectStore open(InstantSource clock) throws Exception;

  @BeforeEach
  void openStore() throws Exception {
    store = open(() -> Instant.now().plus(clockOffset.get()));
  }

  @AfterEach
  void closeStore() {
    store.close();
  }

  private static byte[] bytes(int length) {
    byte[] bytes = new byte[length];
    new Random(length).nextBytes(bytes);
    return bytes;
  }

  private Path file(byte[] bytes) throws IOException {
    return Files.write(Files.createTempFile(dir, "object", ""), bytes);
  }

  private UploadContent describe(byte[] bytes) throws IOException {
    return Contents.describe(file(bytes), PART);
  }

  private UploadTicket ticket(String key, String id, UploadContent content) {
    return UploadTicket.newBuilder()
        .addAllParts(store.presignUpload(key, id, content, HOST))
        .build();
  }

  /** Brings in an object the whole way. */
  private UploadContent store(String key, byte[] bytes) throws Exception {
    Path file = file(bytes);
    UploadContent content = Contents.describe(file, PART);
    String id = store.beginUpload(key, content);
    CompletedUpload done =
        transfer.upload(file, content, () -> ticket(key, id, content), TransferListener.NONE);
    store.commit(key, id, content, done.getEtagsList());
    return content;
  }

  private Path fetch(String key, UploadContent content) throws Exception {
    Path target = dir.resolve("fetched-" + key.replace('/', '-'));
    transfer.download(
        () ->
            DownloadTicket.newBuilder()
                .setRequest(store.presignGet(key, HOST))
                .setBytes(content.getBytes())
                .setSha256(content.getSha256())
                .build(),
        target,
        TransferListener.NONE);
    return target;
  }

  private HttpResponse<byte[]> put(PresignedRequest request, byte[] body) throws Exception {
    return put(request.getUrl(), request, body);
  }

  private HttpResponse<byte[]> put(String url, PresignedRequest headers, byte[] body)
      throws Exception {
    HttpRequest.Builder builder =
        HttpRequest.newBuilder(URI.create(url)).PUT(BodyPublishers.ofByteArray(body));
    headers.getHeadersMap().forEach(builder::setHeader);
    return http.send(builder.build(), BodyHandlers.ofByteArray());
  }

  private static void refused(Kind kind, ThrowingCallable call) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            ObjectStoreException.class,
            e -> {
              assertThat(e.kind()).describedAs(e.getMessage()).isEqualTo(kind);
              assertThat(e.getMessage()).doesNotContain("\n");
            });
  }

  @Test
  void anObjectOfOnePartComesBack() throws Exception {
    byte[] bytes = bytes(1_000_000);
    String key = ObjectKeys.forJob("j1", 3);
    UploadContent content = store(key, bytes);
    assertThat(fetch(key, content)).hasBinaryContent(bytes);
    assertThat(store.stat(key)).map(Stat::bytes).contains(1_000_000L);
    assertThat(store.stat(key).orElseThrow().modified())
        .isBetween(Instant.now().minusSeconds(60), Instant.now().plusSeconds(60));
  }

  @Test
  void anEmptyObjectComesBack() throws Exception {
    String key = ObjectKeys.forDataset();
    assertThat(fetch(key, store(key, new byte[0]))).isEmptyFile();
  }

  @Test
  void anObjectOfManyPartsComesBack() throws Exception {
    byte[] bytes = bytes(2 * PART + 12_345);
    String key = ObjectKeys.forJob("j1", 3);
    UploadContent content = store(key, bytes);
    assertThat(content.getPartsCount()).isEqualTo(3);
    assertThat(fetch(key, content)).hasBinaryContent(bytes);
    // Committed again, as after a lost answer; the parts' upload is gone by now.
    store.commit(key, "", content, List.of());
    store.commit(key, "00000000-0000-0000-0000-000000000000", content, List.of("a", "b", "c"));
    assertThat(fetch(key, content)).hasBinaryContent(bytes);
  }

  @Test
  void theStoreRefusesOtherBytesThanWereDescribed() throws Exception {
    byte[] bytes = bytes(1000);
    byte[] other = bytes.clone();
    other[999] ^= 1;
    UploadContent content = describe(bytes);
    String key = ObjectKeys.forJob("j", 1);
    PresignedRequest request = store.presignUpload(key, "", content, HOST).get(0);

    assertThat(put(request, other).statusCode()).isEqualTo(400);
    assertThat(store.stat(key)).isEmpty();
    // The length is signed as well.
    assertThat(put(request, Arrays.copyOf(bytes, 1001)).statusCode()).isEqualTo(403);
    assertThat(put(request, Arrays.copyOf(bytes, 999)).statusCode()).isEqualTo(403);
    // And so is the checksum: it can neither be left out nor changed.
    assertThat(put(request.getUrl(), PresignedRequest.getDefaultInstance(), other).statusCode())
        .isEqualTo(403);
    PresignedRequest changed =
        request.toBuilder().putHeaders(Checksums.HEADER, Checksums.of(describe(other))).build();
    assertThat(put(changed, other).statusCode()).isEqualTo(403);

    assertThat(store.stat(key)).isEmpty();
    refused(Kind.MISMATCH, () -> store.commit(key, "", content, List.of("")));
  }

  @Test
  void theStoreRefusesOtherPartsThanWereDescribed() throws Exception {
    byte[] bytes = bytes(PART + 1);
    UploadContent content = describe(bytes);
    String key = ObjectKeys.forJob("j", 1);
    String id = store.beginUpload(key, content);
    List<PresignedRequest> parts = store.presignUpload(key, id, content, HOST);
    assertThat(put(parts.get(1), new byte[] {(byte) (bytes[PART] ^ 1)}).statusCode())
        .isEqualTo(400);
    assertThat(
            put(parts.get(1).getUrl(), PresignedRequest.getDefaultInstance(), new byte[] {1})
                .statusCode())
        .isEqualTo(403);
    // A part's URL is good for that part alone.
    assertThat(
            put(
                    parts.get(1).getUrl().replace("partNumber=2", "partNumber=1"),
                    parts.get(1),
                    new byte[] {bytes[PART]})
                .statusCode())
        .isEqualTo(403);
  }

  @Test
  void aUrlWritesItsKeyOnce() throws Exception {
    byte[] bytes = bytes(1000);
    UploadContent content = describe(bytes);
    String key = ObjectKeys.forJob("j", 1);
    PresignedRequest request = store.presignUpload(key, "", content, HOST).get(0);
    assertThat(put(request, bytes).statusCode()).isEqualTo(200);
    store.commit(key, "", content, List.of());
    Instant written = store.stat(key).orElseThrow().modified();

    assertThat(put(request, bytes).statusCode()).isEqualTo(412);
    // Nor does a fresh one replace what is there.
    byte[] other = bytes(999);
    PresignedRequest second = store.presignUpload(key, "", describe(other), HOST).get(0);
    assertThat(put(second, other).statusCode()).isEqualTo(412);
    assertThat(fetch(key, content)).hasBinaryContent(bytes);
    assertThat(store.stat(key).orElseThrow().modified()).isEqualTo(written);
  }

  @Test
  void aUrlIsGoodForItsKeyAndItsMethodOnly() throws Exception {
    byte[] bytes = bytes(1000);
    UploadContent content = describe(bytes);
    String key = ObjectKeys.forJob("j", 1);
    String other = ObjectKeys.forJob("j", 2);
    PresignedRequest write = store.presignUpload(key, "", content, HOST).get(0);
    assertThat(put(write.getUrl().replace(key, other), write, bytes).statusCode()).isEqualTo(403);
    String read = store.presignGet(key, HOST).getUrl();
    assertThat(put(read, PresignedRequest.getDefaultInstance(), bytes).statusCode()).isEqualTo(403);
    store(key, bytes);
    store(other, bytes);
    assertThat(get(read).statusCode()).isEqualTo(200);
    assertThat(get(read.replace(key, other)).statusCode()).isEqualTo(403);
    assertThat(get(read.substring(0, read.indexOf('?'))).statusCode()).isEqualTo(403);
    assertThat(get(read.substring(0, read.indexOf(key))).statusCode()).isEqualTo(403);
  }

  private HttpResponse<byte[]> get(String url, String... headers) throws Exception {
    HttpRequest.Builder builder = HttpRequest.newBuilder(URI.create(url));
    if (headers.length > 0) {
      builder.headers(headers);
    }
    return http.send(builder.build(), BodyHandlers.ofByteArray());
  }

  @Test
  void anExpiredUrlIsRefusedAndRefreshed() throws Exception {
    byte[] bytes = bytes(1000);
    Path file = file(bytes);
    UploadContent content = Contents.describe(file);
    String key = ObjectKeys.forJob("j", 1);
    clockOffset.set(Duration.ofMinutes(-16));
    PresignedRequest old = store.presignUpload(key, "", content, HOST).get(0);
    PresignedRequest oldGet = store.presignGet(key, HOST);
    clockOffset.set(Duration.ZERO);
    assertThat(put(old, bytes).statusCode()).isEqualTo(403);

    List<PresignedRequest> tickets = new ArrayList<>(List.of(old));
    tickets.addAll(store.presignUpload(key, "", content, HOST));
    transfer.upload(
        file,
        content,
        () -> UploadTicket.newBuilder().addParts(tickets.remove(0)).build(),
        TransferListener.NONE);
    assertThat(tickets).isEmpty();
    store.commit(key, "", content, List.of());

    assertThat(get(oldGet.getUrl()).statusCode()).isEqualTo(403);
    List<PresignedRequest> gets = new ArrayList<>(List.of(oldGet, store.presignGet(key, HOST)));
    transfer.download(
        () ->
            DownloadTicket.newBuilder()
                .setRequest(gets.remove(0))
                .setBytes(content.getBytes())
                .setSha256(content.getSha256())
                .build(),
        dir.resolve("fetched"),
        TransferListener.NONE);
    assertThat(dir.resolve("fetched")).hasBinaryContent(bytes);
    assertThat(gets).isEmpty();
  }

  @Test
  void urlsLiveFifteenMinutes() throws Exception {
    String key = ObjectKeys.forJob("j", 1);
    store(key, bytes(10));
    clockOffset.set(Duration.ofMinutes(-14));
    String stillGood = store.presignGet(key, HOST).getUrl();
    assertThat(get(stillGood).statusCode()).isEqualTo(200);
  }

  @Test
  void aRangeCanBeRead() throws Exception {
    byte[] bytes = bytes(1000);
    String key = ObjectKeys.forJob("j", 1);
    store(key, bytes);
    HttpResponse<byte[]> response =
        get(store.presignGet(key, HOST).getUrl(), "Range", "bytes=900-");
    assertThat(response.statusCode()).isEqualTo(206);
    assertThat(response.body()).isEqualTo(Arrays.copyOfRange(bytes, 900, 1000));
    assertThat(response.headers().firstValue("Content-Range")).contains("bytes 900-999/1000");
    assertThat(get(store.presignGet(key, HOST).getUrl(), "Range", "bytes=1000-").statusCode())
        .isEqualTo(416);
  }

  @Test
  void whatIsDeletedIsGone() throws Exception {
    String key = ObjectKeys.forJob("j", 1);
    UploadContent content = store(key, bytes(10));
    store.delete(key);
    store.delete(key);
    assertThat(store.stat(key)).isEmpty();
    assertThatThrownBy(() -> fetch(key, content)).isInstanceOf(NoSuchFileException.class);
    refused(Kind.MISMATCH, () -> store.commit(key, "", content, List.of("")));
  }

  @Test
  void anAbortedUploadLeavesNothing() throws Exception {
    byte[] bytes = bytes(PART + 1);
    UploadContent content = describe(bytes);
    String key = ObjectKeys.forJob("j", 1);
    String id = store.beginUpload(key, content);
    List<PresignedRequest> parts = store.presignUpload(key, id, content, HOST);
    String etag = etag(put(parts.get(0), Arrays.copyOf(bytes, PART)));
    store.abortUpload(key, id);
    store.abortUpload(key, id);
    // Some stores still take parts; nothing comes of them.
    put(parts.get(1), new byte[] {bytes[PART]});
    refused(Kind.MISMATCH, () -> store.commit(key, id, content, List.of(etag, "x")));
    assertThat(store.stat(key)).isEmpty();

    String single = ObjectKeys.forJob("j", 1);
    store(single, bytes(10));
    store.abortUpload(single, "");
    assertThat(store.stat(single)).isEmpty();
  }

  private static String etag(HttpResponse<byte[]> response) {
    assertThat(response.statusCode()).isEqualTo(200);
    return response.headers().firstValue("ETag").orElseThrow().replace("\"", "");
  }

  @Test
  void aCommitWithoutAllItsPartsIsRefusedAndCanBeMadeGood() throws Exception {
    byte[] bytes = bytes(PART + 1);
    UploadContent content = describe(bytes);
    String key = ObjectKeys.forJob("j", 1);
    String id = store.beginUpload(key, content);
    List<PresignedRequest> parts = store.presignUpload(key, id, content, HOST);
    String first = etag(put(parts.get(0), Arrays.copyOf(bytes, PART)));
    String zeros = "0".repeat(32);
    refused(Kind.MISMATCH, () -> store.commit(key, id, content, List.of(first, zeros)));
    String second = etag(put(parts.get(1), new byte[] {bytes[PART]}));
    refused(Kind.MISMATCH, () -> store.commit(key, id, content, List.of(first, zeros)));
    refused(Kind.MISMATCH, () -> store.commit(key, id, content, List.of(first)));
    store.commit(key, id, content, List.of(first, second));
    assertThat(fetch(key, content)).hasBinaryContent(bytes);
  }

  @Test
  void anObjectThatIsNotWhatWasSaidIsRemoved() throws Exception {
    String key = ObjectKeys.forJob("j", 1);
    store.put(key, bytes(999));
    UploadContent promised = describe(bytes(1000));
    refused(Kind.MISMATCH, () -> store.commit(key, "", promised, List.of("")));
    assertThat(store.stat(key)).isEmpty();

    byte[] other = bytes(1000);
    other[1] ^= 1;
    store.put(key, other);
    refused(Kind.MISMATCH, () -> store.commit(key, "", promised, List.of("")));
    assertThat(store.stat(key)).isEmpty();
    assertThat(fetch(key, store(key, bytes(1000)))).hasBinaryContent(bytes(1000));
  }

  @Test
  void theCoordinatorsOwnBytesReplaceEarlierOnes() throws Exception {
    String key = ObjectKeys.forJob("j", 1);
    store.put(key, bytes(10));
    store.put(key, bytes(2000));
    assertThat(fetch(key, describe(bytes(2000)))).hasBinaryContent(bytes(2000));
  }

  @Test
  void theCoordinatorsOwnFilesAreStoredToo() throws Exception {
    String key = ObjectKeys.forJob("j", 1);
    byte[] bytes = bytes(PART + 1);
    store.put(key, file(bytes).toFile(), describe(bytes).getSha256());
    assertThat(fetch(key, describe(bytes))).hasBinaryContent(bytes);
    refused(
        Kind.MISMATCH,
        () -> store.put(key, file(bytes(10)).toFile(), describe(bytes(11)).getSha256()));
  }

  @Test
  void theSweepTakesWhatIsOldAndUnreferenced() throws Exception {
    String kept = ObjectKeys.forJob("j", 1);
    String left = ObjectKeys.forJob("j", 1);
    store(kept, bytes(10));
    store(left, bytes(10));

    assertThat(store.sweep(Instant.now().minusSeconds(60), key -> key.equals(left))).isZero();
    assertThat(store.stat(left)).isPresent();
    assertThat(store.sweep(Instant.now().plusSeconds(60), key -> key.equals(left))).isOne();
    assertThat(store.stat(kept)).isPresent();
    assertThat(store.stat(left)).isEmpty();
  }

  @Test
  void theSweepLeavesWhatIsNotOurs() throws Exception {
    List<String> others =
        List.of("photos/a.jpg", "jobs/readme", "jobs/j/reports/train.log", "datasets/2024/a.csv");
    String left = ObjectKeys.forDataset();
    for (String key : others) {
      store.put(key, bytes(10));
    }
    store.put(left, bytes(10));
    UploadContent content = describe(bytes(PART + 1));
    String theirs = store.beginUpload("photos/b.jpg", content);
    String open = ObjectKeys.forDataset();
    String ours = store.beginUpload(open, content);
    sendFirst("photos/b.jpg", theirs, content);
    sendFirst(open, ours, content);

    store.sweep(Instant.now().plusSeconds(60), key -> !key.equals(open));
    assertThat(store.stat(left)).isEmpty();
    for (String key : others) {
      assertThat(store.stat(key)).as(key).isPresent();
    }
    // What is still to come of an upload may take more than a day.
    assertThat(finish(open, ours, content)).isEqualTo(content.getBytes());
    if (!(store instanceof EmbeddedS3)) { // whose bucket nobody shares
      assertThat(finish("photos/b.jpg", theirs, content)).isEqualTo(content.getBytes());
    }
  }

  private void sendFirst(String key, String id, UploadContent content) throws Exception {
    PresignedRequest request = store.presignUpload(key, id, content, HOST).get(0);
    assertThat(put(request, Arrays.copyOf(bytes(PART + 1), PART)).statusCode()).isEqualTo(200);
  }

  private long finish(String key, String id, UploadContent content) throws Exception {
    List<PresignedRequest> parts = store.presignUpload(key, id, content, HOST);
    byte[] bytes = bytes(PART + 1);
    String second = etag(put(parts.get(1), new byte[] {bytes[PART]}));
    store.commit(key, id, content, List.of(md5(Arrays.copyOf(bytes, PART)), second));
    return store.stat(key).orElseThrow().bytes();
  }

  // As S3 names a part.
  private static String md5(byte[] part) throws Exception {
    return HexFormat.of().formatHex(MessageDigest.getInstance("MD5").digest(part));
  }

  @Test
  void theFirstThatClaimsTheStoreHasIt() throws Exception {
    assertThat(store.claim("first")).isEqualTo("first");
    assertThat(store.claim("second")).isEqualTo("first");
    store.delete("baton/owner");
    assertThat(store.claim("second")).isEqualTo("second");
  }
}
