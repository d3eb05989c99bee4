package dev.baton.worker.leaving;

import static dev.baton.worker.testing.Eventually.await;
import static org.assertj.core.api.Assertions.assertThat;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Against an imitation of each cloud's metadata service, as its documentation has it. */
@Timeout(60)
class SpotWatchTest {
  private static final String AWS_ACTION = "/latest/meta-data/spot/instance-action";
  private static final String GCP = "/computeMetadata/v1/instance/";
  private static final String AZURE_NAME = "/metadata/instance/compute/name";
  private static final String AZURE_EVENTS = "/metadata/scheduledevents";

  private HttpServer server;
  // What lies where; for AWS only with the token of now.
  private final Map<String, String> pages = new ConcurrentHashMap<>();
  private final List<String> notices = new CopyOnWriteArrayList<>();
  private volatile String awsToken = "";

  @BeforeEach
  void start() throws IOException {
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.createContext("/", this::answer);
    server.start();
  }

  @AfterEach
  void stop() {
    server.stop(0);
  }

  private void answer(HttpExchange exchange) throws IOException {
    try (exchange) {
      String path = exchange.getRequestURI().getPath();
      String query = String.valueOf(exchange.getRequestURI().getQuery());
      String page = null;
      if (path.equals("/latest/api/token") && exchange.getRequestMethod().equals("PUT")) {
        boolean timed = header(exchange, "X-aws-ec2-metadata-token-ttl-seconds").equals("21600");
        page = awsToken.isEmpty() || !timed ? null : awsToken;
      } else if (path.startsWith("/latest/")) {
        if (!header(exchange, "X-aws-ec2-metadata-token").equals(awsToken)) {
          exchange.sendResponseHeaders(401, -1);
          return;
        }
        page = pages.get(path);
      } else if (path.startsWith("/computeMetadata/")) {
        page = header(exchange, "Metadata-Flavor").equals("Google") ? pages.get(path) : null;
        exchange.getResponseHeaders().set("Metadata-Flavor", "Google");
      } else if (path.startsWith("/metadata/")) {
        boolean asked =
            header(exchange, "Metadata").equals("true") && query.startsWith("api-version=20");
        page = asked ? pages.get(path) : null;
      }
      if (page == null) {
        exchange.sendResponseHeaders(404, -1);
        return;
      }
      byte[] bytes = page.getBytes(StandardCharsets.UTF_8);
      exchange.sendResponseHeaders(200, bytes.length);
      exchange.getResponseBody().write(bytes);
    }
  }

  private static String header(HttpExchange exchange, String name) {
    return String.valueOf(exchange.getRequestHeaders().getFirst(name));
  }

  private URI address() {
    return URI.create("http://127.0.0.1:" + server.getAddress().getPort());
  }

  private MetadataService service() {
    return new MetadataService(address());
  }

  private void watch(SpotWatch.Choice choice) {
    new SpotWatch(choice, Optional.of(address()), notices::add).start();
  }

  @Test
  void awsSaysNothingUntilThereIsAnAction() throws Exception {
    awsToken = "one";
    AwsSpot aws = new AwsSpot(service());
    assertThat(aws.recognises()).isTrue();
    assertThat(new GcpSpot(service()).recognises()).isFalse();
    assertThat(new AzureSpot(service()).recognises()).isFalse();
    assertThat(aws.notice()).isEmpty();
    // The token has run out.
    awsToken = "two";
    assertThat(aws.notice()).isEmpty();
    pages.put(AWS_ACTION, "{\"action\": \"terminate\",\n \"time\": \"2026-03-01T08:22:00Z\"}");
    assertThat(aws.notice())
        .contains(
            "AWS takes this instance:"
                + " {\"action\": \"terminate\", \"time\": \"2026-03-01T08:22:00Z\"}");
  }

  @Test
  void gcpPreemptsOrTerminates() throws Exception {
    pages.put(GCP + "preempted", "FALSE");
    pages.put(GCP + "maintenance-event", "NONE");
    GcpSpot gcp = new GcpSpot(service());
    assertThat(gcp.recognises()).isTrue();
    assertThat(new AwsSpot(service()).recognises()).isFalse();
    assertThat(gcp.notice()).isEmpty();
    pages.put(GCP + "maintenance-event", "MIGRATE_ON_HOST_MAINTENANCE");
    assertThat(gcp.notice()).isEmpty();
    pages.put(GCP + "maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE");
    assertThat(gcp.notice()).get().asString().contains("maintenance");
    pages.put(GCP + "preempted", "TRUE");
    assertThat(gcp.notice()).contains("Google Cloud preempts this instance");
  }

  @Test
  void azureNamesTheMachinesThatAnEventConcerns() throws Exception {
    pages.put(AZURE_NAME, "spot_1");
    pages.put(AZURE_EVENTS, "{\"DocumentIncarnation\": 1, \"Events\": []}");
    AzureSpot azure = new AzureSpot(service());
    assertThat(azure.recognises()).isTrue();
    assertThat(azure.notice()).isEmpty();
    pages.put(AZURE_EVENTS, event("Reboot", "spot_1"));
    assertThat(azure.notice()).isEmpty();
    pages.put(AZURE_EVENTS, event("Preempt", "spot_0"));
    assertThat(azure.notice()).as("of another machine").isEmpty();
    pages.put(AZURE_EVENTS, event("Preempt", "SPOT_1"));
    assertThat(azure.notice()).get().asString().contains("Preempt").contains("08:22:00");
    pages.put(AZURE_EVENTS, event("Terminate", "spot_1"));
    assertThat(azure.notice()).isPresent();
  }

  private static String event(String type, String machine) {
    return "{\"DocumentIncarnation\": 2, \"Events\": [{\"EventId\": \"e\", \"EventStatus\":"
        + " \"Scheduled\", \"EventType\": \""
        + type
        + "\", \"ResourceType\": \"VirtualMachine\", \"Resources\": [\""
        + machine
        + "\"], \"NotBefore\": \"Sun, 01 Mar 2026 08:22:00 GMT\"}]}";
  }

  @Test
  void theCloudIsRecognisedAndItsNoticeTold() {
    pages.put(AZURE_NAME, "spot_1");
    pages.put(AZURE_EVENTS, event("Preempt", "spot_1"));
    watch(SpotWatch.Choice.AUTO);
    await("told", () -> notices.size() == 1);
    assertThat(notices.get(0)).startsWith("Azure");
  }

  @Test
  void aServiceThatFailsIsAskedAgain() {
    // Chosen, not recognised: it gives no token yet.
    watch(SpotWatch.Choice.AWS);
    pages.put(AWS_ACTION, "{\"action\": \"stop\"}");
    awsToken = "late";
    await("told", () -> notices.size() == 1);
    assertThat(notices.get(0)).startsWith("AWS");
  }

  @Test
  void amongStrangersNothingHappens() throws Exception {
    assertThat(new AwsSpot(service()).recognises()).isFalse();
    assertThat(new GcpSpot(service()).recognises()).isFalse();
    assertThat(new AzureSpot(service()).recognises()).isFalse();
    watch(SpotWatch.Choice.AUTO);
    watch(SpotWatch.Choice.NONE);
    Thread.sleep(200);
    assertThat(notices).isEmpty();
  }
}
