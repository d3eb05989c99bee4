package dev.baton.transfer;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dev.baton.v1.PresignedRequest;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** An HTTP server that answers one request after the other as the test has it. */
final class ScriptedStore implements AutoCloseable {
  /** How to answer one request. */
  interface Answer {
    void to(HttpExchange exchange) throws IOException, InterruptedException;
  }

  /** What came in, as "METHOD path Range". */
  final List<String> requests = new CopyOnWriteArrayList<>();

  final CountDownLatch closing = new CountDownLatch(1);
  private final Queue<Answer> answers = new ConcurrentLinkedQueue<>();
  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final HttpServer server;

  ScriptedStore(Answer... script) throws IOException {
    answers.addAll(List.of(script));
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.setExecutor(threads);
    server.createContext(
        "/",
        exchange -> {
          String range = exchange.getRequestHeaders().getFirst("Range");
          requests.add(
              exchange.getRequestMethod()
                  + " "
                  + exchange.getRequestURI()
                  + (range == null ? "" : " " + range));
          Answer answer = answers.poll();
          try (exchange) {
            if (answer == null) {
              status(500, "script is over").to(exchange);
            } else {
              answer.to(exchange);
            }
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
        });
    server.start();
  }

  PresignedRequest request(String path) {
    return PresignedRequest.newBuilder()
        .setUrl("http://127.0.0.1:" + server.getAddress().getPort() + path)
        .putHeaders("x-promised", "yes")
        .build();
  }

  static Answer status(int status, String body) {
    return exchange -> {
      exchange.getRequestBody().readAllBytes();
      byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
      exchange.sendResponseHeaders(status, bytes.length == 0 ? -1 : bytes.length);
      exchange.getResponseBody().write(bytes);
    };
  }

  /** Takes a body into {@code target}. */
  static Answer accept(List<byte[]> target, String etag) {
    return exchange -> {
      target.add(exchange.getRequestBody().readAllBytes());
      exchange.getResponseHeaders().set("ETag", '"' + etag + '"');
      exchange.sendResponseHeaders(200, -1);
    };
  }

  /** Hangs up before anything is said. */
  static Answer hangUp() {
    return exchange -> exchange.getRequestBody().read();
  }

  /** Sends {@code object} from the byte asked for, up to {@code end}; then it hangs up. */
  static Answer send(byte[] object, int end) {
    return exchange -> {
      String range = exchange.getRequestHeaders().getFirst("Range");
      int from = range == null ? 0 : Integer.parseInt(range.replaceAll("\\D", ""));
      if (range != null) {
        exchange
            .getResponseHeaders()
            .set(
                "Content-Range",
                "bytes %d-%d/%d".formatted(from, object.length - 1, object.length));
      }
      exchange.sendResponseHeaders(range == null ? 200 : 206, object.length - from);
      exchange.getResponseBody().write(object, from, end - from);
      exchange.getResponseBody().flush();
    };
  }

  /** As {@link #send}, but deaf to ranges. */
  static Answer sendWhole(byte[] object) {
    return exchange -> {
      exchange.sendResponseHeaders(200, object.length);
      exchange.getResponseBody().write(object);
    };
  }

  /** Falls silent after {@code end} bytes until the test is over. */
  Answer stall(byte[] object, int end) {
    return exchange -> {
      send(object, end).to(exchange);
      closing.await();
    };
  }

  @Override
  public void close() {
    closing.countDown();
    server.stop(0);
    threads.shutdownNow();
  }
}
