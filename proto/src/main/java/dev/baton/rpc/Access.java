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
   * @param insecure whether a token that names no key may go in the clear to another machine than
   *     the one that it names
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
    Pin pin = token.coordinator().map(TokenText.Origin::pin).orElse(Pin.PLAIN);
    // Who made a token for plaintext has accepted that for its own host, and for no other.
    boolean ownHost =
        token
            .coordinator()
            .map(origin -> origin.address().host())
            .equals(Optional.of(chosen.host()));
    if (!pin.tls() && !insecure && !ownHost && !isLoopback(chosen.host())) {
      throw new IllegalArgumentException(
          "the token names no key, and "
              + chosen
              + " is another machine; give the whole token, SECRET.PIN.HOST:PORT as 'baton token"
              + " create' prints it there, or add --insecure to send it unencrypted");
    }
    return new Access(chosen, pin, token.secret());
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
