package dev.baton.coordinator;

import java.io.IOException;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.util.Optional;

/** Names and addresses of the machine itself. */
final class OwnHost {
  // RFC 5737: belongs to nobody. Nothing is sent there.
  private static final String SOMEWHERE = "192.0.2.1";

  private OwnHost() {}

  /** The address from which this machine reaches others; empty where it has none. */
  static Optional<String> address() {
    try (var socket = new DatagramSocket()) {
      // Picks the route, and thereby the address.
      socket.connect(new InetSocketAddress(SOMEWHERE, 9));
      InetAddress local = socket.getLocalAddress();
      return local.isAnyLocalAddress() || local.isLoopbackAddress()
          ? Optional.empty()
          : Optional.of(local.getHostAddress());
    } catch (IOException | java.io.UncheckedIOException e) {
      return Optional.empty();
    }
  }

  /** The machine's name; empty where it does not know it. */
  static Optional<String> name() {
    try {
      return Optional.of(InetAddress.getLocalHost().getHostName());
    } catch (UnknownHostException e) {
      return Optional.empty();
    }
  }
}
