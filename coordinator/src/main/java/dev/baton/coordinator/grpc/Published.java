package dev.baton.coordinator.grpc;

import dev.baton.coordinator.config.CoordinatorConfig;
import dev.baton.rpc.Access;
import dev.baton.rpc.HostPort;
import dev.baton.rpc.Pin;
import dev.baton.rpc.TokenText;
import java.util.Optional;

/**
 * What the coordinator says of itself to those who come with a token: its key, and where it is as
 * far as it knows.
 *
 * @param advertised the operator's word, which counts for all
 * @param ownHost for whoever came over loopback, and would send others there
 * @param grpc where the services listen
 * @param http where HTTP is served
 */
public record Published(
    Pin pin, Optional<String> advertised, String ownHost, HostPort grpc, HostPort http) {

  /** What stands in the admin's own token. */
  public TokenText.Origin own() {
    return new TokenText.Origin(
        pin,
        new HostPort(
            advertised.isEmpty() && CoordinatorConfig.isLoopback(grpc) ? grpc.host() : ownHost,
            grpc.port()));
  }

  /**
   * What stands in a token for others.
   *
   * @param authority by which its maker reached the coordinator
   */
  TokenText.Origin origin(String authority) {
    if (advertised.isPresent()) {
      return own();
    }
    HostPort reached;
    try {
      reached = HostPort.parse(authority);
    } catch (IllegalArgumentException e) {
      return own();
    }
    // The maker's port counts, not the listener's: something may lie in between.
    boolean useless = Access.isLoopback(reached.host()) && !CoordinatorConfig.isLoopback(grpc);
    return useless || !TokenText.isHost(reached.host())
        ? own()
        : new TokenText.Origin(pin, reached);
  }

  /** The beginning of HTTP's URLs for the same; empty where they cannot reach it. */
  String httpUrl(String authority) {
    if (CoordinatorConfig.isLoopback(http) && !CoordinatorConfig.isLoopback(grpc)) {
      return "";
    }
    return (pin.tls() ? "https://" : "http://")
        + new HostPort(origin(authority).address().host(), http.port());
  }
}
