package dev.baton.coordinator.config;

/** An S3-compatible object store that is not the embedded one, as the file describes it. */
public record ForeignStore(
    String endpoint, String bucket, String region, String accessKey, String secretKey) {

  /** Without the secret, so that a log line may show it. */
  @Override
  public String toString() {
    return endpoint + "/" + bucket;
  }
}
