package dev.baton.coordinator.web;

import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;
import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import dev.baton.coordinator.web.Releases.Archive;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Semaphore;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import javax.net.ssl.SSLContext;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Serves {@code /healthz}, {@code /metrics}, {@code /join} (the script that makes a machine a
 * worker) and {@code /releases/} (the archives that it downloads, resumable). Reads only; GET and
 * HEAD.
 */
public final class WebServer implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(WebServer.class);
  private static final String RELEASES = "/releases/";
  private static final int MAX_THREADS = 128;
  // Each takes a thread for as long as it lasts; the rest are for short requests.
  private static final int MAX_DOWNLOADS = 64;
  private static final int BUFFER_BYTES = 64 << 10;

  static {
    // The JDK's server reads these once. Without them a response waits for the caller's delayed
    // acknowledgement, and a caller that stops in the middle of a request, or of reading a
    // response, holds a thread for good.
    setIfUnset("sun.net.httpserver.nodelay", "true");
    setIfUnset("sun.net.httpserver.maxReqTime", "30");
    setIfUnset("sun.net.httpserver.maxRspTime", "21600");
  }

  private final HttpServer server;
  private final ExecutorService executor;
  private final Supplier<String> metrics;
  private final @Nullable Releases releases;
  private final JoinScript joinScript = new JoinScript();
  private final String scheme;
  private final Semaphore downloads = new Semaphore(MAX_DOWNLOADS);

  /**
   * Binds; serves from {@link #start} on.
   *
   * @param metrics the text of {@code /metrics}
   * @param releases the folder behind {@code /releases/}
   * @param tls where given, the server speaks HTTPS and nothing else
   * @throws IOException where the address cannot be bound
   */
  public WebServer(
      InetSocketAddress address,
      Supplier<String> metrics,
      Optional<Path> releases,
      Optional<SSLContext> tls)
      throws IOException {
    this.metrics = metrics;
    this.releases = releases.map(Releases::new).orElse(null);
    releases
        .filter(folder -> !Files.exists(folder.resolve(Releases.SUMS)))
        .ifPresent(
            folder -> log.warn("{} has no {} yet: no release is served", folder, Releases.SUMS));
    scheme = tls.isPresent() ? "https" : "http";
    server = tls.isPresent() ? https(address, tls.get()) : HttpServer.create(address, 64);
    executor =
        new ThreadPoolExecutor(
            0,
            MAX_THREADS,
            10,
            TimeUnit.SECONDS,
            new SynchronousQueue<>(),
            task -> {
              var thread = new Thread(task, "http");
              thread.setDaemon(true);
              return thread;
            });
    server.setExecutor(executor);
    server.createContext("/", readOnly(this::answer));
  }

  private static HttpServer https(InetSocketAddress address, SSLContext tls) throws IOException {
    HttpsServer https = HttpsServer.create(address, 64);
    https.setHttpsConfigurator(new HttpsConfigurator(tls));
    return https;
  }

  private static void setIfUnset(String property, String value) {
    if (System.getProperty(property) == null) {
      System.setProperty(property, value);
    }
  }

  /** Begins to answer. */
  public void start() {
    server.start();
  }

  /** The port that was taken. */
  public int port() {
    return server.getAddress().getPort();
  }

  /** Stops at once. */
  @Override
  public void close() {
    server.stop(0);
    executor.shutdownNow();
  }

  private static HttpHandler readOnly(HttpHandler handler) {
    return exchange -> {
      try (exchange) {
        String method = exchange.getRequestMethod();
        if (!method.equals("GET") && !method.equals("HEAD")) {
          exchange.getResponseHeaders().set("Allow", "GET, HEAD");
          text(exchange, 405, "GET only\n");
        } else {
          handler.handle(exchange);
        }
      } catch (RuntimeException e) {
        log.error("{} failed", exchange.getRequestURI(), e);
      }
    };
  }

  private void answer(HttpExchange exchange) throws IOException {
    // Not decoded: what is served has no name that needs it.
    String path = exchange.getRequestURI().getRawPath();
    switch (path) {
      case "/healthz" -> text(exchange, 200, "ok\n");
      case "/metrics" -> text(exchange, 200, metrics.get());
      case "/join" -> join(exchange);
      default -> {
        if (releases == null || !path.startsWith(RELEASES)) {
          text(exchange, 404, "not found\n");
        } else {
          release(exchange, releases, path.substring(RELEASES.length()));
        }
      }
    }
  }

  private static void text(HttpExchange exchange, int status, String text) throws IOException {
    byte[] body = text.getBytes(StandardCharsets.UTF_8);
    Headers headers = exchange.getResponseHeaders();
    headers.set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    if (exchange.getRequestMethod().equals("HEAD")) {
      headers.set("Content-Length", Integer.toString(body.length));
      exchange.sendResponseHeaders(status, -1);
    } else {
      exchange.sendResponseHeaders(status, body.length == 0 ? -1 : body.length);
      exchange.getResponseBody().write(body);
    }
  }

  private void join(HttpExchange exchange) throws IOException {
    String host = exchange.getRequestHeaders().getFirst("Host");
    List<Archive> archives = releases == null ? List.of() : releases.list();
    Optional<String> script = joinScript.text(scheme, host == null ? "" : host, archives);
    exchange.getResponseHeaders().set("Cache-Control", "no-store");
    if (script.isPresent()) {
      text(exchange, 200, script.get());
    } else {
      text(exchange, 400, "the Host header is no HOST:PORT\n");
    }
  }

  private void release(HttpExchange exchange, Releases folder, String name) throws IOException {
    if (name.isEmpty()) {
      var lines = new StringBuilder();
      folder.list().forEach(archive -> lines.append(archive.line()));
      text(exchange, 200, lines.toString());
      return;
    }
    Optional<Archive> archive = folder.find(name);
    if (archive.isEmpty()) {
      text(exchange, 404, "not found\n");
    } else if (!downloads.tryAcquire()) {
      exchange.getResponseHeaders().set("Retry-After", "5");
      text(exchange, 503, "too many downloads at once; try again\n");
    } else {
      try {
        send(exchange, archive.get());
      } finally {
        downloads.release();
      }
    }
  }

  private static void send(HttpExchange exchange, Archive archive) throws IOException {
    try (FileChannel file = FileChannel.open(archive.file())) {
      long size = file.size();
      String tag = "\"" + archive.sha256() + "\"";
      Headers headers = exchange.getResponseHeaders();
      headers.set("Content-Type", "application/octet-stream");
      headers.set("Accept-Ranges", "bytes");
      headers.set("ETag", tag);
      Optional<ByteRange> range = range(exchange, tag, size);
      if (range.isPresent() && !range.get().isSatisfiable()) {
        headers.set("Content-Range", "bytes */" + size);
        exchange.sendResponseHeaders(416, -1);
        return;
      }
      ByteRange part = range.orElse(new ByteRange(0, size));
      if (range.isPresent()) {
        long last = part.first() + part.length() - 1;
        headers.set("Content-Range", "bytes " + part.first() + "-" + last + "/" + size);
      }
      int status = range.isPresent() ? 206 : 200;
      if (exchange.getRequestMethod().equals("HEAD") || part.length() == 0) {
        headers.set("Content-Length", Long.toString(part.length()));
        exchange.sendResponseHeaders(status, -1);
        return;
      }
      exchange.sendResponseHeaders(status, part.length());
      copy(file, part, exchange.getResponseBody());
    }
  }

  /** The range that was asked for, of this very file. */
  private static Optional<ByteRange> range(HttpExchange exchange, String tag, long size) {
    String range = exchange.getRequestHeaders().getFirst("Range");
    String ifRange = exchange.getRequestHeaders().getFirst("If-Range");
    if (range == null
        || !exchange.getRequestMethod().equals("GET")
        || (ifRange != null && !ifRange.equals(tag))) {
      return Optional.empty();
    }
    return ByteRange.parse(range, size);
  }

  private static void copy(FileChannel file, ByteRange part, OutputStream out) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(BUFFER_BYTES);
    file.position(part.first());
    for (long left = part.length(); left > 0; ) {
      buffer.clear().limit((int) Math.min(BUFFER_BYTES, left));
      int n = file.read(buffer);
      if (n < 0) {
        // The connection is cut before the promised length: the caller sees that and tries again.
        throw new IOException("the file became shorter while it was sent");
      }
      out.write(buffer.array(), 0, n);
      left -= n;
    }
  }
}
