package dev.baton.coordinator.objectstore;

import java.net.URI;
import java.net.URISyntaxException;

/**
 * Where a foreign S3-compatible store is, and how to get in.
 *
 * @param endpoint scheme, host and port, as in https://s3.eu-central-1.amazonaws.com
 * @param region as the store signs for; us-east-1 where it has none
 */
public record S3Settings(
    String endpoint, String region, String bucket, String accessKey, String secretKey) {

  /** Checks them as far as that goes without asking the store. */
  public S3Settings {
    endpoint = endpoint.endsWith("/") ? endpoint.substring(0, endpoint.length() - 1) : endpoint;
    URI uri;
    try {
      uri = new URI(endpoint);
    } catch (URISyntaxException e) {
      throw new IllegalArgumentException("endpoint '" + endpoint + "': " + e.getReason(), e);
    }
    boolean http = "http".equals(uri.getScheme()) || "https".equals(uri.getScheme());
    if (!http || uri.getHost() == null || !uri.getPath().isEmpty() || uri.getQuery() != null) {
      throw new IllegalArgumentException(
          "endpoint '" + endpoint + "': expected http(s)://HOST[:PORT]");
    }
    if (!bucket.matches("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")) {
      throw new IllegalArgumentException(
          "bucket '" + bucket + "': expected 3 to 63 of a-z, 0-9, '.' and '-'");
    }
    if (region.isBlank() || accessKey.isBlank() || secretKey.isBlank()) {
      throw new IllegalArgumentException("region, access key and secret key must not be empty");
    }
  }

  /** Without the secret. */
  @Override
  public String toString() {
    return endpoint + "/" + bucket;
  }
}
