package dev.baton.rpc;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * All that it takes to reach a coordinator.
 *
 * @param address of gRPC
 * @param secret the token's part that is sent
 */
public record Access(HostPort address, Pin pin, String secret) {

  /**
   * Puts a token and a chosen address together.
   *
   * @param address overrides the token's own; may be left out where the token has one
   * @param insecure whether a token that names no key may go beyond loopback in the clear
   * @throws IllegalArgumentException with a message that says what is missing
   */
  public static Access of(TokenText token, Optional<HostPort> address, boolean insecure) {
    HostPort chosen =
        address
            .or(() -> token.coordinator().map(TokenText.Origin::address))
            .orElseThrow(
                () ->
                    new IllegalArgumentException(
                        "no coordinator: give --coordinator HOST:PORT or set BATON_COORDINATOR"
                            + " (a whole token, SECRET.PIN.HOST:PORT, names it too)"));
    if (chosen.port() == 0) {
      throw new IllegalArgumentException("'" + chosen + "': port 0 is nowhere to connect to");
    }
    if (token.coordinator().isPresent()) {
      return new Access(chosen, token.coordinator().get().pin(), token.secret());
    }
    if (!insecure && !isLoopback(chosen.host())) {
      throw new IllegalArgumentException(
          "the token names no key, and "
              + chosen
              + " is another machine; give the whole token, SECRET.PIN.HOST:PORT as 'baton token"
              + " create' prints it, or add --insecure to send it unencrypted");
    }
    return new Access(chosen, Pin.PLAIN, token.secret());
  }

  /** Whether a name or an address is this machine's own, and nobody can listen in between. */
  public static boolean isLoopback(String host) {
    if (host.equalsIgnoreCase("localhost")) {
      return true;
    }
    @Nullable InetAddress literal = literal(host);
    return literal != null && literal.isLoopbackAddress();
  }

  /** An address that is written as one; null for a name, which is not looked up. */
  static @Nullable InetAddress literal(String host) {
    boolean looksLikeOne =
        host.indexOf(':') >= 0 || host.chars().allMatch(c -> c == '.' || (c >= '0' && c <= '9'));
    if (!looksLikeOne || host.isEmpty()) {
      return null;
    }
    try {
      return InetAddress.getByName(host);
    } catch (UnknownHostException e) {
      return null;
    }
  }

  /** Without the secret. */
  @Override
  public String toString() {
    return address + " (" + pin + ")";
  }
}
