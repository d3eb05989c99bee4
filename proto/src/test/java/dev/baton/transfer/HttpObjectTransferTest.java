package dev.baton.transfer;

import static dev.baton.transfer.ScriptedStore.accept;
import static dev.baton.transfer.ScriptedStore.hangUp;
import static dev.baton.transfer.ScriptedStore.send;
import static dev.baton.transfer.ScriptedStore.sendWhole;
import static dev.baton.transfer.ScriptedStore.status;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.v1.CompletedUpload;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadTicket;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(30)
class HttpObjectTransferTest {
  private static final byte[] BYTES = new byte[300_000];

  static {
    new Random(1).nextBytes(BYTES);
  }

  @TempDir Path dir;
  private Path file = Path.of("");
  private final AtomicInteger tickets = new AtomicInteger();
  private final HttpObjectTransfer transfer =
      new HttpObjectTransfer(
          new Retries(3, Duration.ofMillis(1), Duration.ofMillis(2), Duration.ofMillis(300)));

  @BeforeEach
  void writeFile() throws IOException {
    file = Files.write(dir.resolve("object"), BYTES);
  }

  private CompletedUpload upload(ScriptedStore store, UploadContent content) throws Exception {
    return transfer.upload(
        file,
        content,
        () -> {
          UploadTicket.Builder ticket = UploadTicket.newBuilder().setUploadId("u");
          int count = tickets.incrementAndGet();
          for (int i = 0; i < content.getPartsCount(); i++) {
            ticket.addParts(store.request("/" + i + "?ticket=" + count));
          }
          return ticket.build();
        },
        TransferListener.NONE);
  }

  private Path download(ScriptedStore store) throws Exception {
    return download(store, Contents.describe(file));
  }

  private Path download(ScriptedStore store, UploadContent promised) throws Exception {
    Path target = dir.resolve("fetched");
    transfer.download(
        () ->
            DownloadTicket.newBuilder()
                .setRequest(store.request("/o?ticket=" + tickets.incrementAndGet()))
                .setBytes(promised.getBytes())
                .setSha256(promised.getSha256())
                .build(),
        target,
        TransferListener.NONE);
    return target;
  }

  @Test
  void sendsPartsInOrderWithTheTicketsHeaders() throws Exception {
    List<byte[]> got = new ArrayList<>();
    List<String> headers = new ArrayList<>();
    try (var store =
        new ScriptedStore(
            exchange -> {
              headers.add(exchange.getRequestHeaders().getFirst("x-promised"));
              headers.add(exchange.getRequestHeaders().getFirst("Content-Length"));
              accept(got, "a").to(exchange);
            },
            accept(got, "b"),
            accept(got, "c"))) {
      CompletedUpload done = upload(store, Contents.describe(file, 131072));
      assertThat(done.getEtagsList()).containsExactly("a", "b", "c");
      assertThat(done.getUploadId()).isEqualTo("u");
      assertThat(headers).containsExactly("yes", "131072");
      assertThat(store.requests)
          .containsExactly("PUT /0?ticket=1", "PUT /1?ticket=1", "PUT /2?ticket=1");
      assertThat(got.get(2)).hasSize(300_000 - 2 * 131072);
      byte[] all = new byte[300_000];
      int at = 0;
      for (byte[] part : got) {
        System.arraycopy(part, 0, all, at, part.length);
        at += part.length;
      }
      assertThat(all).isEqualTo(BYTES);
    }
  }

  @Test
  void sendsAnEmptyFile() throws Exception {
    Files.write(file, new byte[0]);
    List<byte[]> got = new ArrayList<>();
    try (var store = new ScriptedStore(accept(got, "e"))) {
      assertThat(upload(store, Contents.describe(file)).getEtagsList()).containsExactly("e");
      assertThat(got).containsExactly(new byte[0]);
    }
  }

  @Test
  void refusalsAndBrokenConnectionsAreTriedAgainWithFreshTickets() throws Exception {
    List<byte[]> got = new ArrayList<>();
    try (var store =
        new ScriptedStore(
            status(403, "<Error><Code>AccessDenied</Code></Error>"),
            hangUp(),
            accept(got, "a"),
            status(400, "<Error><Code>BadDigest</Code></Error>"),
            status(503, ""),
            accept(got, "b"))) {
      CompletedUpload done = upload(store, Contents.describe(file, 200_000));
      assertThat(done.getEtagsList()).containsExactly("a", "b");
      assertThat(store.requests)
          .containsExactly(
              "PUT /0?ticket=1",
              "PUT /0?ticket=2",
              "PUT /0?ticket=3",
              "PUT /1?ticket=3",
              "PUT /1?ticket=4",
              "PUT /1?ticket=5");
    }
  }

  @Test
  void givesUpWithTheStoresReason() throws Exception {
    String full = "<Error><Code>InternalError</Code><Message>No space left</Message></Error>";
    try (var store = new ScriptedStore(status(500, full), status(500, full), status(500, full))) {
      assertThatThrownBy(() -> upload(store, Contents.describe(file)))
          .isInstanceOf(IOException.class)
          .hasMessageContaining("failed 3 times")
          .hasMessageContaining("500 (InternalError No space left)");
      assertThat(store.requests).hasSize(3);
    }
  }

  @Test
  void aFullStoreIsNotAskedAgain() throws Exception {
    String full =
        "<Error><Code>InsufficientStorage</Code><Message>the disk is full</Message></Error>";
    try (var store = new ScriptedStore(status(507, full), status(507, ""))) {
      assertThatThrownBy(() -> upload(store, Contents.describe(file)))
          .isInstanceOf(IOException.class)
          .hasMessage("the disk is full");
      assertThatThrownBy(() -> upload(store, Contents.describe(file))).hasMessageContaining("507");
      assertThat(store.requests).hasSize(2);
    }
  }

  @Test
  void aDefiniteRefusalIsNotRepeated() throws Exception {
    try (var store = new ScriptedStore(status(405, ""))) {
      assertThatThrownBy(() -> upload(store, Contents.describe(file))).hasMessageContaining("405");
      assertThat(store.requests).hasSize(1);
    }
  }

  @Test
  void anAttemptWhoseAnswerWasLostCounts() throws Exception {
    List<byte[]> got = new ArrayList<>();
    try (var store =
        new ScriptedStore(
            exchange -> got.add(exchange.getRequestBody().readAllBytes()), status(412, ""))) {
      assertThat(upload(store, Contents.describe(file)).getEtagsList()).containsExactly("");
      assertThat(got).hasSize(1);
    }
  }

  @Test
  void anUploadThatIsCompleteSendsNothing() throws Exception {
    try (var store = new ScriptedStore()) {
      CompletedUpload done =
          transfer.upload(
              file,
              Contents.describe(file),
              () -> UploadTicket.newBuilder().setUploadId("u").setComplete(true).build(),
              TransferListener.NONE);
      assertThat(done.getUploadId()).isEqualTo("u");
      assertThat(store.requests).isEmpty();
    }
  }

  @Test
  void aFileThatChangedIsNotSentAsWhatItWas() throws Exception {
    UploadContent content = Contents.describe(file);
    byte[] other = BYTES.clone();
    other[299_999] ^= 1;
    Files.write(file, other);
    try (var store = new ScriptedStore(accept(new ArrayList<>(), "a"))) {
      assertThatThrownBy(() -> upload(store, content))
          .isInstanceOf(DigestMismatchException.class)
          .hasMessageContaining("no longer");
    }
    Files.write(file, new byte[5]);
    try (var store = new ScriptedStore()) {
      assertThatThrownBy(() -> upload(store, content)).isInstanceOf(DigestMismatchException.class);
    }
  }

  @Test
  void aStalledAttemptIsGivenUp() throws Exception {
    List<byte[]> got = new ArrayList<>();
    CountDownLatch over = new CountDownLatch(1);
    try (var store = new ScriptedStore(exchange -> over.await(), accept(got, "a"))) {
      assertThat(upload(store, Contents.describe(file)).getEtagsList()).containsExactly("a");
      over.countDown();
    }
  }

  @Test
  void theCoordinatorsRefusalIsPassedOn() {
    assertThatThrownBy(
            () ->
                transfer.upload(
                    file,
                    Contents.describe(file),
                    () -> {
                      throw new IOException("the term is over");
                    },
                    TransferListener.NONE))
        .hasMessage("the term is over");
  }

  @Test
  void downloadsAndResumesBehindACut() throws Exception {
    try (var store =
        new ScriptedStore(
            send(BYTES, 100_000),
            status(500, ""),
            send(BYTES, 200_000),
            hangUp(),
            hangUp(),
            send(BYTES, 300_000))) {
      assertThat(download(store)).hasBinaryContent(BYTES);
      assertThat(store.requests.get(0)).isEqualTo("GET /o?ticket=1");
      // Progress forgives earlier failures: five in all, never three in a row.
      assertThat(store.requests).hasSize(6);
      assertThat(store.requests.get(1)).startsWith("GET /o?ticket=2 bytes=");
      assertThat(store.requests.get(5)).contains(" bytes=");
      assertThat(dir.resolve("fetched.part")).doesNotExist();
    }
  }

  @Test
  void aLaterCallResumesWhatAnEarlierOneLeft() throws Exception {
    Files.write(dir.resolve("fetched.part"), java.util.Arrays.copyOf(BYTES, 123_456));
    try (var store = new ScriptedStore(send(BYTES, 300_000))) {
      assertThat(download(store)).hasBinaryContent(BYTES);
      assertThat(store.requests).containsExactly("GET /o?ticket=1 bytes=123456-");
    }
  }

  @Test
  void damagedLeftoversAreFetchedAgain() throws Exception {
    Files.write(dir.resolve("fetched.part"), new byte[123_456]);
    try (var store = new ScriptedStore(send(BYTES, 300_000), send(BYTES, 300_000))) {
      assertThat(download(store)).hasBinaryContent(BYTES);
      assertThat(store.requests)
          .containsExactly("GET /o?ticket=1 bytes=123456-", "GET /o?ticket=1");
    }
    Files.write(dir.resolve("fetched.part"), new byte[300_001]);
    try (var store = new ScriptedStore(send(BYTES, 300_000))) {
      assertThat(download(store)).hasBinaryContent(BYTES);
    }
  }

  @Test
  void wholeLeftoversNeedNoRequest() throws Exception {
    Files.write(dir.resolve("fetched.part"), BYTES);
    try (var store = new ScriptedStore()) {
      assertThat(download(store)).hasBinaryContent(BYTES);
      assertThat(store.requests).isEmpty();
    }
  }

  @Test
  void aStoreThatIgnoresRangesSendsAllAgain() throws Exception {
    try (var store = new ScriptedStore(send(BYTES, 100_000), sendWhole(BYTES))) {
      assertThat(download(store)).hasBinaryContent(BYTES);
    }
  }

  @Test
  void wrongBytesLeaveNothing() throws Exception {
    byte[] other = BYTES.clone();
    other[5] ^= 1;
    try (var store = new ScriptedStore(sendWhole(other))) {
      assertThatThrownBy(() -> download(store))
          .isInstanceOf(DigestMismatchException.class)
          .hasMessageContaining("fetched: the object has SHA-256");
      assertThat(dir.resolve("fetched")).doesNotExist();
      assertThat(dir.resolve("fetched.part")).doesNotExist();
    }
  }

  @Test
  void moreOrFewerBytesThanPromisedAreRefused() throws Exception {
    try (var store = new ScriptedStore(sendWhole(new byte[300_001]))) {
      assertThatThrownBy(() -> download(store))
          .isInstanceOf(DigestMismatchException.class)
          .hasMessageContaining("more than the 300000 bytes");
    }
    try (var store = new ScriptedStore(sendWhole(new byte[1000]), status(416, ""))) {
      assertThatThrownBy(() -> download(store))
          .isInstanceOf(DigestMismatchException.class)
          .hasMessageContaining("no more than 1000 bytes");
      assertThat(dir.resolve("fetched.part")).doesNotExist();
    }
  }

  @Test
  void anObjectThatIsGoneIsNotAskedForAgain() throws Exception {
    try (var store = new ScriptedStore(status(404, ""))) {
      assertThatThrownBy(() -> download(store)).isInstanceOf(NoSuchFileException.class);
      assertThat(store.requests).hasSize(1);
    }
  }

  @Test
  void aStalledDownloadResumes() throws Exception {
    try (var store = new ScriptedStore()) {
      try (var slow = new ScriptedStore(store.stall(BYTES, 50_000), send(BYTES, 300_000))) {
        assertThat(download(slow)).hasBinaryContent(BYTES);
        assertThat(slow.requests.get(1)).startsWith("GET /o?ticket=2 bytes=");
      }
    }
  }

  @Test
  void anInterruptEndsATransferAndKeepsWhatItHas() throws Exception {
    try (var store = new ScriptedStore()) {
      Thread caller = Thread.currentThread();
      try (var slow =
          new ScriptedStore(
              exchange -> {
                send(BYTES, 50_000).to(exchange);
                caller.interrupt();
                store.closing.await();
              })) {
        HttpObjectTransfer patient = new HttpObjectTransfer();
        UploadContent content = Contents.describe(file);
        Path target = dir.resolve("fetched");
        assertThatThrownBy(
                () ->
                    patient.download(
                        () ->
                            DownloadTicket.newBuilder()
                                .setRequest(slow.request("/"))
                                .setBytes(content.getBytes())
                                .setSha256(content.getSha256())
                                .build(),
                        target,
                        TransferListener.NONE))
            .isInstanceOf(InterruptedException.class);
        assertThat(target).doesNotExist();
        assertThat(dir.resolve("fetched.part")).exists();
        store.closing.countDown();
      }
    }
  }

  @Test
  void aPlaceThatCannotBeWrittenIsNoFailureInTransit() throws Exception {
    try (var store = new ScriptedStore(send(BYTES, 300_000))) {
      assertThatThrownBy(
              () ->
                  transfer.download(
                      () -> DownloadTicket.newBuilder().setRequest(store.request("/")).build(),
                      dir.resolve("missing").resolve("fetched"),
                      TransferListener.NONE))
          .isInstanceOf(NoSuchFileException.class);
      assertThat(store.requests).isEmpty();
    }
  }

  @Test
  void transfersShareTheBandwidth() throws Exception {
    // Two times 300 kB at 1 MB/s; one of the downloads is cut and goes on behind the cut.
    HttpObjectTransfer limited =
        new HttpObjectTransfer(Retries.DEFAULT, Bandwidth.of(8_000_000, System::nanoTime));
    UploadContent content = Contents.describe(file, 200_000);
    List<byte[]> got = new ArrayList<>();
    try (var up = new ScriptedStore(accept(got, "a"), accept(got, "b"));
        var down = new ScriptedStore(send(BYTES, 100_000), send(BYTES, 300_000))) {
      long started = System.nanoTime();
      CompletableFuture<CompletedUpload> upload =
          CompletableFuture.supplyAsync(
              () -> {
                try {
                  return limited.upload(
                      file,
                      content,
                      () ->
                          UploadTicket.newBuilder()
                              .addParts(up.request("/0"))
                              .addParts(up.request("/1"))
                              .build(),
                      TransferListener.NONE);
                } catch (IOException | InterruptedException e) {
                  throw new CompletionException(e);
                }
              },
              task -> new Thread(task).start());
      limited.download(
          () ->
              DownloadTicket.newBuilder()
                  .setRequest(down.request("/o"))
                  .setBytes(content.getBytes())
                  .setSha256(content.getSha256())
                  .build(),
          dir.resolve("fetched"),
          TransferListener.NONE);
      assertThat(upload.get().getEtagsList()).containsExactly("a", "b");
      assertThat(Duration.ofNanos(System.nanoTime() - started))
          .isBetween(Duration.ofMillis(450), Duration.ofSeconds(5));
      assertThat(down.requests).hasSize(2);
      assertThat(down.requests.get(1)).contains(" bytes=");
    }
    assertThat(dir.resolve("fetched")).hasBinaryContent(BYTES);
    assertThat(got.stream().mapToInt(part -> part.length).sum()).isEqualTo(300_000);
  }
}
