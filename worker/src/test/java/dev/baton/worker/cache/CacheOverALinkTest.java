package dev.baton.worker.cache;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dev.baton.transfer.Bandwidth;
import dev.baton.transfer.HttpObjectTransfer;
import dev.baton.transfer.Retries;
import dev.baton.transfer.TransferListener;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.PresignedRequest;
import dev.baton.worker.testing.FakeStore;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Data sets that come over a slow link from a store that breaks off, into a cache with a quota. */
@Timeout(60)
class CacheOverALinkTest {
  private static final int BYTES = 200_000;
  private static final byte[] CONTENT = new byte[BYTES];

  static {
    new Random(1).nextBytes(CONTENT);
  }

  @TempDir Path dir;
  private HttpServer store;
  private DatasetCache cache;
  // Each answer breaks off after so many bytes.
  private volatile int cutAfter = BYTES;
  // How many bytes each asked-for range begins behind.
  private final List<Integer> ranges = new CopyOnWriteArrayList<>();
  // 1 MB/s.
  private final HttpObjectTransfer transfer =
      new HttpObjectTransfer(
          new Retries(3, Duration.ofMillis(1), Duration.ofMillis(2), Duration.ofSeconds(20)),
          Bandwidth.of(8_000_000, System::nanoTime));

  @BeforeEach
  void start() throws IOException {
    store = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    store.createContext("/", this::answer);
    store.start();
    cache = new DatasetCache(dir, 2 * BYTES + 1, Clock.systemUTC());
  }

  @AfterEach
  void stop() {
    store.stop(0);
  }

  private void answer(HttpExchange exchange) throws IOException {
    try (exchange) {
      String range = exchange.getRequestHeaders().getFirst("Range");
      int from = range == null ? 0 : Integer.parseInt(range.replaceAll("\\D", ""));
      ranges.add(from);
      exchange
          .getResponseHeaders()
          .set("Content-Range", "bytes %d-%d/%d".formatted(from, BYTES - 1, BYTES));
      exchange.sendResponseHeaders(range == null ? 200 : 206, BYTES - from);
      exchange.getResponseBody().write(CONTENT, from, Math.min(cutAfter, BYTES - from));
      exchange.getResponseBody().flush();
    }
  }

  private Path acquire(String name) throws IOException, InterruptedException {
    return acquire(name, BYTES);
  }

  private Path acquire(String name, long bytes) throws IOException, InterruptedException {
    Dataset dataset =
        Dataset.newBuilder()
            .setName(name)
            .setDigest(digest(name))
            .addFiles(DatasetFile.newBuilder().setPath("x").setBytes(bytes))
            .build();
    return cache.acquire(
        dataset,
        (set, file, target) ->
            transfer.download(
                () ->
                    DownloadTicket.newBuilder()
                        .setRequest(
                            PresignedRequest.newBuilder()
                                .setUrl("http://127.0.0.1:" + store.getAddress().getPort() + "/x"))
                        .setBytes(BYTES)
                        .setSha256(FakeStore.sha256(CONTENT))
                        .build(),
                target,
                TransferListener.NONE));
  }

  private static String digest(String name) {
    return FakeStore.sha256(name.getBytes(StandardCharsets.UTF_8));
  }

  @Test
  void whatIsCutGoesOnWhereItWasAtTheSpeedOfTheLimit() throws Exception {
    cutAfter = 60_000;
    long started = System.nanoTime();
    assertThat(acquire("a").resolve("x")).hasBinaryContent(CONTENT);
    assertThat(Duration.ofNanos(System.nanoTime() - started)).isGreaterThan(Duration.ofMillis(140));
    assertThat(ranges).hasSizeGreaterThanOrEqualTo(4).isSorted();
    assertThat(ranges.get(3)).isPositive();
    // Warm: nothing is asked for.
    ranges.clear();
    cache.release(digest("a"));
    assertThat(acquire("a").resolve("x")).hasBinaryContent(CONTENT);
    assertThat(ranges).isEmpty();
  }

  @Test
  void whatCouldNotBeFetchedGoesOnNextTime() throws Exception {
    cutAfter = 0;
    assertThatThrownBy(() -> acquire("a")).hasMessageContaining("failed 3 times");
    cutAfter = 50_000;
    store.removeContext("/");
    store.createContext(
        "/",
        exchange -> {
          if (ranges.size() < 4) {
            answer(exchange);
          } else {
            exchange.close();
          }
        });
    assertThatThrownBy(() -> acquire("a")).hasMessageContaining("failed 3 times");
    store.removeContext("/");
    store.createContext("/", this::answer);
    cutAfter = BYTES;
    ranges.clear();
    assertThat(acquire("a").resolve("x")).hasBinaryContent(CONTENT);
    assertThat(ranges).hasSize(1);
    assertThat(ranges.get(0)).isPositive();
  }

  @Test
  void aFullCacheMakesRoomBeforeItFetchesOrRefuses() throws Exception {
    Path a = acquire("a");
    Path b = acquire("b");
    ranges.clear();
    assertThatThrownBy(() -> acquire("c")).hasMessageContaining("does not fit");
    assertThatThrownBy(() -> acquire("huge", 3L * BYTES)).hasMessageContaining("--cache-quota");
    assertThat(ranges).as("not a byte was fetched for nothing").isEmpty();
    cache.release(digest("a"));
    assertThat(acquire("c").resolve("x")).hasBinaryContent(CONTENT);
    assertThat(a).doesNotExist();
    assertThat(b.resolve("x")).hasBinaryContent(CONTENT);
  }
}
