package dev.baton.deploy;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;

/** A machine's metadata service, as one of the clouds has it. */
final class MetadataService implements AutoCloseable {
  /** Whose it is. */
  enum Cloud {
    AWS,
    GCP,
    AZURE
  }

  private final Cloud cloud;
  private final HttpServer server;
  private volatile boolean takenBack;

  MetadataService(Cloud cloud) throws IOException {
    this.cloud = cloud;
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.createContext("/", this::answer);
    server.start();
  }

  String url() {
    return "http://127.0.0.1:" + server.getAddress().getPort();
  }

  /** From now on it says that the machine is taken back. */
  void takeBack() {
    takenBack = true;
  }

  private void answer(HttpExchange exchange) throws IOException {
    try (exchange) {
      String asked = exchange.getRequestMethod() + " " + exchange.getRequestURI();
      String page =
          switch (cloud) {
            case AWS -> aws(asked, exchange);
            case GCP -> gcp(asked, exchange);
            case AZURE -> azure(asked, exchange);
          };
      byte[] bytes = page.getBytes(StandardCharsets.UTF_8);
      exchange.sendResponseHeaders(bytes.length == 0 ? 404 : 200, bytes.length);
      exchange.getResponseBody().write(bytes);
    }
  }

  private String aws(String asked, HttpExchange exchange) {
    if (asked.equals("PUT /latest/api/token")
        && has(exchange, "X-aws-ec2-metadata-token-ttl-seconds", "21600")) {
      return "session-token";
    }
    return asked.equals("GET /latest/meta-data/spot/instance-action")
            && has(exchange, "X-aws-ec2-metadata-token", "session-token")
            && takenBack
        ? "{\"action\": \"terminate\", \"time\": \"2026-03-01T08:22:00Z\"}"
        : "";
  }

  private String gcp(String asked, HttpExchange exchange) {
    exchange.getResponseHeaders().set("Metadata-Flavor", "Google");
    if (!has(exchange, "Metadata-Flavor", "Google")) {
      return "";
    }
    return switch (asked) {
      case "GET /computeMetadata/v1/instance/preempted" -> takenBack ? "TRUE" : "FALSE";
      case "GET /computeMetadata/v1/instance/maintenance-event" -> "NONE";
      default -> "";
    };
  }

  private String azure(String asked, HttpExchange exchange) {
    if (!has(exchange, "Metadata", "true")) {
      return "";
    }
    return switch (asked) {
      case "GET /metadata/instance/compute/name?api-version=2021-02-01&format=text" -> "spot";
      case "GET /metadata/scheduledevents?api-version=2020-07-01" ->
          takenBack
              ? "{\"DocumentIncarnation\": 2, \"Events\": [{\"EventId\": \"e\", \"EventType\":"
                  + " \"Preempt\", \"ResourceType\": \"VirtualMachine\", \"Resources\": [\"spot\"],"
                  + " \"EventStatus\": \"Scheduled\", \"NotBefore\": \"\"}]}"
              : "{\"DocumentIncarnation\": 1, \"Events\": []}";
      default -> "";
    };
  }

  private static boolean has(HttpExchange exchange, String header, String value) {
    return value.equals(exchange.getRequestHeaders().getFirst(header));
  }

  @Override
  public void close() {
    server.stop(0);
  }
}
