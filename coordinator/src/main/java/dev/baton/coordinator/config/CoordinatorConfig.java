package dev.baton.coordinator.config;

import dev.baton.rpc.HostPort;
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
 * @param insecure whether addresses beyond loopback are allowed though nothing is encrypted
 */
public record CoordinatorConfig(
    Path dataDir,
    HostPort grpc,
    HostPort http,
    HostPort objects,
    Optional<String> advertise,
    Optional<Path> releases,
    FileConfig file,
    boolean insecure) {

  public CoordinatorConfig {
    checkLoopback("--listen", grpc, insecure);
    checkLoopback("--http", http, insecure);
    if (file.objects().isEmpty()) {
      checkLoopback("--objects", objects, insecure);
    }
    releases.ifPresent(
        dir -> {
          if (!Files.isDirectory(dir)) {
            throw new ConfigException("--releases " + dir + ": is not a folder");
          }
        });
  }

  private static void checkLoopback(String flag, HostPort address, boolean insecure) {
    if (!resolve(flag, address).getAddress().isLoopbackAddress() && !insecure) {
      throw new ConfigException(
          flag
              + " "
              + address
              + ": is reachable from other machines, and nothing is encrypted; add --insecure to"
              + " accept that, or listen on 127.0.0.1");
    }
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
