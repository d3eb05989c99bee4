package dev.baton.coordinator.config;

import java.nio.file.Path;

/**
 * A certificate of the operator's own, instead of the one that the coordinator makes.
 *
 * @param certificate PEM: the server's, then what leads to the root
 * @param key PEM: PKCS#8, not encrypted
 */
public record CertificateFiles(Path certificate, Path key) {}
