package dev.baton.coordinator.config;

import dev.baton.rpc.HostPort;
import dev.baton.rpc.TokenText;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/**
 * What a coordinator is started with.
 *
 * @param grpc where the services listen
 * @param http where probes and browsers are served
 * @param objects where the embedded object store listens
 * @param advertise the host that URLs name, instead of the one by which a caller came
 * @param releases the folder served under /releases/
 * @param encryption when the listeners speak TLS
 * @param certificate one of the operator's own
 */
public record CoordinatorConfig(
    Path dataDir,
    HostPort grpc,
    HostPort http,
    HostPort objects,
    Optional<String> advertise,
    Optional<Path> releases,
    FileConfig file,
    Encryption encryption,
    Optional<CertificateFiles> certificate) {

  public CoordinatorConfig {
    // Unknown hosts are refused now.
    InetSocketAddress unused = resolve("--listen", grpc);
    unused = resolve("--http", http);
    unused = resolve("--objects", objects);
    advertise.ifPresent(
        host -> {
          if (!TokenText.isHost(host)) {
            throw new ConfigException(
                "--advertise " + host + ": expected a host's name or address, without a port");
          }
        });
    if (encryption == Encryption.NEVER && certificate.isPresent()) {
      throw new ConfigException(
          "--insecure: nothing would be encrypted, though there is a certificate; give one of them");
    }
    releases.ifPresent(
        dir -> {
          if (!Files.isDirectory(dir)) {
            throw new ConfigException("--releases " + dir + ": is not a folder");
          }
        });
  }

  /** Whether the listeners speak TLS. */
  public boolean encrypted() {
    return switch (encryption) {
      case ALWAYS -> true;
      case NEVER -> false;
      case WHERE_NEEDED ->
          certificate.isPresent()
              || !isLoopback(grpc)
              || !isLoopback(http)
              || (file.objects().isEmpty() && !isLoopback(objects));
    };
  }

  /** Whether only this machine can reach an address that a listener has. */
  public static boolean isLoopback(HostPort address) {
    return resolve("address", address).getAddress().isLoopbackAddress();
  }

  /** An address that a flag names. */
  public static HostPort address(String flag, String text) {
    try {
      return HostPort.parse(text);
    } catch (IllegalArgumentException e) {
      throw new ConfigException(flag + ": " + e.getMessage());
    }
  }

  /** The address to bind. */
  public static InetSocketAddress resolve(String flag, HostPort address) {
    try {
      return new InetSocketAddress(InetAddress.getByName(address.host()), address.port());
    } catch (UnknownHostException e) {
      throw new ConfigException(flag + ": host '" + address.host() + "' is unknown here");
    }
  }
}
