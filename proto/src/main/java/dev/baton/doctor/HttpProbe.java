package dev.baton.doctor;

import dev.baton.rpc.Access;
import dev.baton.rpc.Proxies;
import dev.baton.transfer.HttpObjectTransfer;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;

/** Asks for a URL once. */
@FunctionalInterface
public interface HttpProbe {
  /** What a server answered. */
  record Answer(int status, String body) {}

  /**
   * GET.
   *
   * @throws IOException where there is no answer
   */
  Answer get(String url) throws IOException, InterruptedException;

  /** By the same way, and with the same trust, as transfers. */
  static HttpProbe of(Access access, Proxies proxies) {
    Duration limit = Duration.ofSeconds(5);
    HttpClient client = HttpObjectTransfer.client(access, proxies).connectTimeout(limit).build();
    return url -> {
      HttpResponse<String> response =
          client.send(
              HttpRequest.newBuilder(URI.create(url)).timeout(limit).build(),
              BodyHandlers.ofString());
      return new Answer(response.statusCode(), response.body());
    };
  }
}
