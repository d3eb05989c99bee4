package dev.baton.worker.leaving;

import dev.baton.worker.leaving.MetadataService.Answer;
import java.io.IOException;
import java.net.HttpURLConnection;
import java.util.Map;
import java.util.Optional;

/**
 * Amazon EC2: {@code spot/instance-action} comes into being two minutes before (EC2 User Guide,
 * "Spot Instance interruption notices"). It is asked with a session token (IMDSv2). Recommendations
 * to rebalance are no notice, and not heeded.
 */
final class AwsSpot implements SpotCloud {
  private static final String TOKEN_PATH = "/latest/api/token";
  private static final String ACTION_PATH = "/latest/meta-data/spot/instance-action";
  private static final Map<String, String> LIFETIME =
      Map.of("X-aws-ec2-metadata-token-ttl-seconds", "21600");

  private final MetadataService service;
  private String token = "";

  AwsSpot(MetadataService service) {
    this.service = service;
  }

  @Override
  public String label() {
    return "AWS";
  }

  @Override
  public boolean recognises() throws IOException {
    Answer answer = service.put(TOKEN_PATH, LIFETIME);
    token = answer.ok() ? answer.body() : "";
    return !token.isEmpty();
  }

  @Override
  public Optional<String> notice() throws IOException {
    Answer answer = ask();
    if (answer.status() == HttpURLConnection.HTTP_UNAUTHORIZED) {
      // The token has run out.
      token = "";
      answer = ask();
    }
    if (answer.status() == HttpURLConnection.HTTP_NOT_FOUND) {
      return Optional.empty();
    }
    if (!answer.ok()) {
      throw answer.unexpected();
    }
    return Optional.of("AWS takes this instance: " + answer.body().replaceAll("\\s+", " "));
  }

  private Answer ask() throws IOException {
    if (token.isEmpty() && !recognises()) {
      throw new IOException("the metadata service gives no token");
    }
    return service.get(ACTION_PATH, Map.of("X-aws-ec2-metadata-token", token));
  }
}
