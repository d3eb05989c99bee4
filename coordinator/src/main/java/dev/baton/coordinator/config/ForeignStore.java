package dev.baton.coordinator.config;

/** An S3-compatible object store that is not the embedded one. */
public record ForeignStore(
    String endpoint, String bucket, String region, String accessKey, String secretKey) {

  public ForeignStore {
    if (!endpoint.startsWith("http://") && !endpoint.startsWith("https://")) {
      throw new ConfigException(
          "objects.endpoint: '" + endpoint + "' must begin with http:// or https://");
    }
    if (!bucket.matches("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")) {
      throw new ConfigException("objects.bucket: '" + bucket + "' is not a bucket's name");
    }
  }

  /** Without the secret, so that a log line may show it. */
  @Override
  public String toString() {
    return endpoint + "/" + bucket;
  }
}
