package dev.baton.coordinator.web;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Serves {@code /healthz}, {@code /metrics} and, where a folder is given, {@code /releases/}. Reads
 * only; GET and HEAD.
 */
public final class WebServer implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(WebServer.class);
  private static final String RELEASES = "/releases/";

  private final HttpServer server;
  private final ExecutorService executor;

  /**
   * Binds; serves from {@link #start} on.
   *
   * @param metrics the text of {@code /metrics}
   * @param releases the folder behind {@code /releases/}
   * @throws IOException where the address cannot be bound
   */
  public WebServer(InetSocketAddress address, Supplier<String> metrics, Optional<Path> releases)
      throws IOException {
    server = HttpServer.create(address, 64);
    executor =
        Executors.newFixedThreadPool(
            4,
            task -> {
              var thread = new Thread(task, "http");
              thread.setDaemon(true);
              return thread;
            });
    server.setExecutor(executor);
    server.createContext("/", readOnly(exchange -> text(exchange, 404, "not found\n")));
    server.createContext("/healthz", readOnly(exchange -> text(exchange, 200, "ok\n")));
    server.createContext("/metrics", readOnly(exchange -> text(exchange, 200, metrics.get())));
    releases.ifPresent(
        dir -> server.createContext(RELEASES, readOnly(exchange -> release(exchange, dir))));
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

  private static void text(HttpExchange exchange, int status, String text) throws IOException {
    byte[] body = text.getBytes(StandardCharsets.UTF_8);
    exchange.getResponseHeaders().set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    if (exchange.getRequestMethod().equals("HEAD")) {
      exchange.sendResponseHeaders(status, -1);
    } else {
      exchange.sendResponseHeaders(status, body.length);
      exchange.getResponseBody().write(body);
    }
  }

  private static void release(HttpExchange exchange, Path dir) throws IOException {
    Path root = dir.toRealPath();
    Path file;
    try {
      // toRealPath follows links, so that neither ".." nor a link leads out of the folder.
      file =
          root.resolve(exchange.getRequestURI().getPath().substring(RELEASES.length()))
              .toRealPath();
    } catch (IOException | java.nio.file.InvalidPathException e) {
      text(exchange, 404, "not found\n");
      return;
    }
    if (!file.startsWith(root) || !Files.isRegularFile(file)) {
      text(exchange, 404, "not found\n");
      return;
    }
    exchange.getResponseHeaders().set("Content-Type", "application/octet-stream");
    if (exchange.getRequestMethod().equals("HEAD")) {
      exchange.getResponseHeaders().set("Content-Length", Long.toString(Files.size(file)));
      exchange.sendResponseHeaders(200, -1);
      return;
    }
    try (var in = Files.newInputStream(file)) {
      long size = Files.size(file);
      exchange.sendResponseHeaders(200, size == 0 ? -1 : size);
      if (size > 0) {
        in.transferTo(exchange.getResponseBody());
      }
    }
  }
}
