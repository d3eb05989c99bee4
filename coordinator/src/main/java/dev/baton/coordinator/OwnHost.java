package dev.baton.coordinator;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.DatagramSocket;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.net.SocketException;
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
      if (!local.isAnyLocalAddress() && !local.isLoopbackAddress()) {
        return Optional.of(local.getHostAddress());
      }
    } catch (IOException | UncheckedIOException e) {
      // No route leads out of here; there may be neighbours.
    }
    return neighbours();
  }

  private static Optional<String> neighbours() {
    try {
      return NetworkInterface.networkInterfaces()
          .flatMap(NetworkInterface::inetAddresses)
          .filter(address -> address instanceof Inet4Address && !address.isLoopbackAddress())
          .map(InetAddress::getHostAddress)
          .findFirst();
    } catch (SocketException e) {
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
