package dev.baton.coordinator.grpc;

import java.util.Optional;

/**
 * The host that presigned URLs name: the one that was advertised, else the one by which the caller
 * reached the coordinator.
 *
 * @param fallback for a caller who named none
 */
public record UrlHost(Optional<String> advertised, String fallback) {

  String ofThisCall() {
    if (advertised.isPresent()) {
      return advertised.get();
    }
    String host = Authentication.HOST.get();
    return host == null || host.isEmpty() ? fallback : host;
  }
}
