package dev.baton.worker.daemon;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Names the loopback interface that this process uses: the same for processes of one host in one
 * network namespace, and for no others. Containers on one host have interfaces of their own.
 */
public final class LoopbackId {
  private static final Logger log = LoggerFactory.getLogger(LoopbackId.class);

  private static final Path BOOT = Path.of("/proc/sys/kernel/random/boot_id");
  // A link that reads net:[INODE].
  private static final Path NAMESPACE = Path.of("/proc/self/ns/net");

  private LoopbackId() {}

  /** Lower-case hexadecimal; random where the system does not tell. */
  public static String find() {
    try {
      String text = Files.readString(BOOT).strip() + " " + Files.readSymbolicLink(NAMESPACE);
      byte[] digest =
          MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(digest);
    } catch (IOException | UnsupportedOperationException e) {
      log.debug("the network namespace cannot be told", e);
      return UUID.randomUUID().toString();
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JVM has SHA-256", e);
    }
  }
}
