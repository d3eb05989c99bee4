package dev.baton.coordinator.web;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class WebServerTest {
  @TempDir Path temp;
  private WebServer server;

  @BeforeEach
  void start() throws Exception {
    Path releases = Files.createDirectory(temp.resolve("releases"));
    Files.writeString(releases.resolve("baton.tar.gz"), "archive");
    Files.writeString(temp.resolve("secret"), "secret");
    Files.createSymbolicLink(releases.resolve("link"), temp.resolve("secret"));
    server =
        new WebServer(
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
            () -> "baton_up 1\n",
            Optional.of(releases));
    server.start();
  }

  @AfterEach
  void stop() {
    server.close();
  }

  private HttpResponse<String> send(String method, String path) throws Exception {
    return HttpClient.newHttpClient()
        .send(
            HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + server.port() + path))
                .method(method, HttpRequest.BodyPublishers.noBody())
                .build(),
            HttpResponse.BodyHandlers.ofString());
  }

  @Test
  void servesHealthMetricsAndReleases() throws Exception {
    assertThat(send("GET", "/healthz").body()).isEqualTo("ok\n");
    assertThat(send("GET", "/metrics").body()).isEqualTo("baton_up 1\n");
    assertThat(send("GET", "/releases/baton.tar.gz").body()).isEqualTo("archive");
    assertThat(send("HEAD", "/releases/baton.tar.gz").headers().firstValue("content-length"))
        .contains("7");
  }

  @Test
  void servesNothingElse() throws Exception {
    for (String path :
        new String[] {
          "/",
          "/releases/",
          "/releases/none",
          "/releases/../secret",
          "/releases/%2e%2e/secret",
          "/releases/link"
        }) {
      assertThat(send("GET", path).statusCode()).as(path).isEqualTo(404);
    }
    assertThat(send("POST", "/healthz").statusCode()).isEqualTo(405);
  }

  @Test
  void writesPrometheusText() {
    String text =
        new PrometheusText()
            .gauge("a", "An a.", 1.5)
            .gauges("b", "Some b.", "state", Map.of("queued", 3))
            .counter("c_total", "All c.", 1_000_000)
            .toString();
    assertThat(text)
        .isEqualTo(
            """
            # HELP a An a.
            # TYPE a gauge
            a 1.50000
            # HELP b Some b.
            # TYPE b gauge
            b{state="queued"} 3
            # HELP c_total All c.
            # TYPE c_total counter
            c_total 1000000
            """);
  }
}
