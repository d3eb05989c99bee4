package dev.baton.worker.config;

import dev.baton.rpc.Access;
import dev.baton.rpc.TokenText;
import dev.baton.transfer.Bandwidth;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * What a worker is told at its start.
 *
 * @param access to the coordinator
 * @param workDir its directory
 * @param name its label
 * @param slots jobs at a time; 0 for one, or one for each GPU
 * @param cacheQuotaBytes of data sets
 * @param cpus processors to declare; 0 for those there are
 * @param advertise this machine's name or address for workers on others; empty: it is not reached
 * @param ports that replicas may listen on
 * @param bandwidth for data sets and checkpoints
 */
public record WorkerConfig(
    Access access,
    Path workDir,
    String name,
    int slots,
    long cacheQuotaBytes,
    int cpus,
    Optional<String> advertise,
    PortRange ports,
    Bandwidth bandwidth) {
  // Where to listen, but nowhere to connect to.
  private static final Set<String> WILDCARDS = Set.of("0.0.0.0", "::");
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,62}");

  public WorkerConfig {
    if (!NAME.matcher(name).matches()) {
      throw new IllegalArgumentException(
          "--name: '" + name + "'; expected at most 63 letters, digits, '.', '_' and '-'");
    }
    if (slots < 0 || slots > 64) {
      throw new IllegalArgumentException("--slots: " + slots + "; expected 1 to 64");
    }
    if (cpus < 0) {
      throw new IllegalArgumentException("--cpus: " + cpus + "; expected 1 or more");
    }
    advertise.ifPresent(
        host -> {
          // An IPv6 address has more colons than one.
          boolean withPort = host.chars().filter(c -> c == ':').count() == 1;
          if (!TokenText.isHost(host) || withPort || WILDCARDS.contains(host)) {
            throw new IllegalArgumentException(
                "--advertise: '"
                    + host
                    + "'; expected a name or address of this machine that other workers reach,"
                    + " without a port");
          }
        });
    if (cacheQuotaBytes <= 0) {
      throw new IllegalArgumentException("--cache-quota: expected more than 0");
    }
  }

  /** Does not show the token. */
  @Override
  public String toString() {
    return "worker " + name + " of " + access + " in " + workDir;
  }
}
