package dev.baton.coordinator.config;

import dev.baton.coordinator.core.LeasePolicy;
import java.util.Optional;

/**
 * What the configuration file says.
 *
 * @param objects the object store to use instead of the embedded one
 * @param tls a certificate to use instead of one made here
 */
public record FileConfig(
    Optional<ForeignStore> objects, LeasePolicy lease, Optional<CertificateFiles> tls) {
  /** What holds without a file. */
  public static final FileConfig DEFAULT =
      new FileConfig(Optional.empty(), LeasePolicy.DEFAULT, Optional.empty());
}
