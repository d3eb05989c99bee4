package dev.baton.coordinator.web;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.InputStream;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class WebServerTest {
  private static final String DIGEST = "0123456789abcdef".repeat(4);

  @TempDir Path temp;
  private Path releases;
  private WebServer server;

  @BeforeEach
  void start() throws Exception {
    releases = Files.createDirectory(temp.resolve("releases"));
    Files.writeString(releases.resolve("baton.tar.gz"), "0123456789");
    Files.writeString(releases.resolve("unlisted"), "unlisted");
    Files.writeString(temp.resolve("secret"), "secret");
    Files.createSymbolicLink(releases.resolve("link"), temp.resolve("secret"));
    sums("baton.tar.gz", "link", "gone", "../secret");
    server =
        new WebServer(
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
            () -> "baton_up 1\n",
            Optional.of(releases),
            Optional.empty());
    server.start();
  }

  @AfterEach
  void stop() {
    server.close();
  }

  private void sums(String... names) throws Exception {
    var text = new StringBuilder();
    for (String name : names) {
      text.append(DIGEST).append("  ").append(name).append('\n');
    }
    Files.writeString(releases.resolve("SHA256SUMS"), text.toString());
  }

  private HttpResponse<String> send(String method, String path, String... headers)
      throws Exception {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + server.port() + path))
            .method(method, HttpRequest.BodyPublishers.noBody());
    if (headers.length > 0) {
      request.headers(headers);
    }
    return HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString());
  }

  private String raw(String request) throws Exception {
    try (var socket = new Socket(InetAddress.getLoopbackAddress(), server.port())) {
      socket.setSoTimeout(20_000);
      socket.getOutputStream().write(request.getBytes(StandardCharsets.ISO_8859_1));
      socket.getOutputStream().flush();
      return new String(socket.getInputStream().readAllBytes(), StandardCharsets.ISO_8859_1);
    }
  }

  @Test
  void servesHealthMetricsAndReleases() throws Exception {
    assertThat(send("GET", "/healthz").body()).isEqualTo("ok\n");
    assertThat(send("GET", "/metrics").body()).isEqualTo("baton_up 1\n");
    HttpResponse<String> whole = send("GET", "/releases/baton.tar.gz");
    assertThat(whole.body()).isEqualTo("0123456789");
    assertThat(whole.headers().firstValue("etag")).contains("\"" + DIGEST + "\"");
    assertThat(whole.headers().firstValue("accept-ranges")).contains("bytes");
    HttpResponse<String> head = send("HEAD", "/releases/baton.tar.gz");
    assertThat(head.headers().firstValue("content-length")).contains("10");
    assertThat(head.headers().firstValue("etag")).contains("\"" + DIGEST + "\"");
    assertThat(send("GET", "/releases/").body()).isEqualTo("baton.tar.gz 10 " + DIGEST + "\n");
    assertThat(send("GET", "/releases/SHA256SUMS").body()).contains(DIGEST + "  baton.tar.gz\n");
  }

  @ParameterizedTest
  @CsvSource({
    "bytes=0-3,    206, 0123,       bytes 0-3/10",
    "bytes=4-,     206, 456789,     bytes 4-9/10",
    "bytes=8-99,   206, 89,         bytes 8-9/10",
    "bytes=-3,     206, 789,        bytes 7-9/10",
    "bytes=-99,    206, 0123456789, bytes 0-9/10",
    "bytes=10-,    416, '',         bytes */10",
    "bytes=-0,     416, '',         bytes */10",
    "bytes=5-4,    200, 0123456789,",
    "bytes=x-,     200, 0123456789,",
    "bytes=-,      200, 0123456789,",
    "lines=1-2,    200, 0123456789,",
    "'bytes=0-1,4-5', 200, 0123456789,",
  })
  void servesRanges(String range, int status, String body, String contentRange) throws Exception {
    HttpResponse<String> part = send("GET", "/releases/baton.tar.gz", "Range", range);
    assertThat(part.statusCode()).isEqualTo(status);
    assertThat(part.body()).isEqualTo(body);
    assertThat(part.headers().firstValue("content-range"))
        .isEqualTo(Optional.ofNullable(contentRange));
  }

  @Test
  void servesARangeOfThisVeryFileAlone() throws Exception {
    String path = "/releases/baton.tar.gz";
    String tag = "\"" + DIGEST + "\"";
    assertThat(send("GET", path, "Range", "bytes=4-", "If-Range", tag).statusCode()).isEqualTo(206);
    for (String other : new String[] {"\"other\"", "W/" + tag, "Sat, 21 Nov 2026 16:36:04 GMT"}) {
      HttpResponse<String> whole = send("GET", path, "Range", "bytes=4-", "If-Range", other);
      assertThat(whole.statusCode()).as(other).isEqualTo(200);
      assertThat(whole.body()).isEqualTo("0123456789");
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "/",
        "/healthz/more",
        "/releases",
        "/releases/none",
        "/releases/unlisted",
        "/releases/gone",
        "/releases/link",
        "/releases/../secret",
        "/releases/%2e%2e/secret",
        "/releases/..%2fsecret",
        "/releases//etc/passwd",
        "/releases/baton.tar.gz%00",
        "/releases/./baton.tar.gz"
      })
  void servesNothingElse(String path) throws Exception {
    assertThat(raw("GET " + path + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
        .startsWith("HTTP/1.1 404 ");
  }

  @Test
  void onlyReads() throws Exception {
    assertThat(send("POST", "/healthz").statusCode()).isEqualTo(405);
    assertThat(send("PUT", "/releases/baton.tar.gz").statusCode()).isEqualTo(405);
  }

  @Test
  void aReleasePutThereLaterIsServed() throws Exception {
    Files.writeString(releases.resolve("new.tar.gz"), "new");
    assertThat(send("GET", "/releases/new.tar.gz").statusCode()).isEqualTo(404);
    sums("new.tar.gz");
    assertThat(send("GET", "/releases/new.tar.gz").body()).isEqualTo("new");
    assertThat(send("GET", "/releases/baton.tar.gz").statusCode()).isEqualTo(404);
  }

  @Test
  void slowDownloadsHoldUpNeitherEachOtherNorTheRest() throws Exception {
    long size = 64L << 20;
    try (var file = new RandomAccessFile(releases.resolve("big").toFile(), "rw")) {
      file.setLength(size);
    }
    sums("big");
    List<Socket> stalled = new ArrayList<>();
    try {
      for (int i = 0; i < 63; i++) {
        stalled.add(stalledDownload());
      }
      assertThat(send("GET", "/healthz").body()).isEqualTo("ok\n");
      HttpResponse<InputStream> whole =
          HttpClient.newHttpClient()
              .send(
                  HttpRequest.newBuilder(
                          URI.create("http://127.0.0.1:" + server.port() + "/releases/big"))
                      .build(),
                  HttpResponse.BodyHandlers.ofInputStream());
      try (InputStream in = whole.body()) {
        assertThat(in.transferTo(OutputStream.nullOutputStream())).isEqualTo(size);
      }
      stalled.add(stalledDownload());
      HttpResponse<String> tooMany = send("GET", "/releases/big", "Range", "bytes=0-0");
      assertThat(tooMany.statusCode()).isEqualTo(503);
      assertThat(tooMany.headers().firstValue("retry-after")).isPresent();
      assertThat(send("GET", "/healthz").body()).isEqualTo("ok\n");
    } finally {
      for (Socket socket : stalled) {
        socket.close();
      }
    }
  }

  /** One that has begun, and whose caller then reads no more. */
  private Socket stalledDownload() throws Exception {
    while (true) {
      var socket = new Socket(InetAddress.getLoopbackAddress(), server.port());
      socket
          .getOutputStream()
          .write(
              "GET /releases/big HTTP/1.1\r\nHost: h\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
      byte[] status = socket.getInputStream().readNBytes(12);
      if (new String(status, StandardCharsets.US_ASCII).equals("HTTP/1.1 200")) {
        return socket;
      }
      // A caller has its last byte a moment before the server counts the download as over.
      assertThat(new String(status, StandardCharsets.US_ASCII)).isEqualTo("HTTP/1.1 503");
      socket.close();
      Thread.sleep(20);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "coordinator.example:7071, http://coordinator.example:7071",
    "10.0.0.1,                 http://10.0.0.1",
    "[fe80::1]:7071,           http://[fe80::1]:7071",
  })
  void theJoinScriptNamesTheHostByWhichItWasReached(String host, String base) throws Exception {
    String answer = raw("GET /join HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n");
    assertThat(answer).startsWith("HTTP/1.1 200 ").contains("\nbase='" + base + "'\n");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "h';reboot;'",
        "$(reboot)",
        "h h",
        "h:1:2",
        "h:123456",
        "-h",
        "h/x",
        "h@x",
        "[h]",
        "`x`",
        "h\\x",
        "@ARCHIVES@"
      })
  void aHostThatIsNoneGetsNoScript(String host) throws Exception {
    assertThat(raw("GET /join HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"))
        .startsWith("HTTP/1.1 400 ")
        .doesNotContain("#!/bin/sh");
  }

  @Test
  void theJoinScriptListsWorkersOfSafeNames() throws Exception {
    for (String name : List.of("baton-worker-1-linux-x86_64-cpu.tar.gz", "baton-worker-';x;'")) {
      Files.writeString(releases.resolve(name), "worker");
    }
    sums("baton.tar.gz", "baton-worker-1-linux-x86_64-cpu.tar.gz", "baton-worker-';x;'");
    assertThat(send("GET", "/join").body())
        .contains("archives='baton-worker-1-linux-x86_64-cpu.tar.gz 6 " + DIGEST + "\n'\n")
        .doesNotContain("baton.tar.gz", ";x;");
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
