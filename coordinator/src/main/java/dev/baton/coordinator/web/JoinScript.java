package dev.baton.coordinator.web;

import dev.baton.coordinator.web.Releases.Archive;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * The shell script that {@code /join} serves ({@code join.sh}), with this coordinator's address and
 * its archives filled in.
 */
final class JoinScript {
  // The header goes into a shell script: letters, digits and what a host's name or address is made
  // of.
  private static final Pattern HOST =
      Pattern.compile("([A-Za-z0-9]([A-Za-z0-9._-]{0,252})|\\[[0-9A-Fa-f:.]{2,45}])(:[0-9]{1,5})?");

  private final String template;

  JoinScript() {
    try (InputStream in = JoinScript.class.getResourceAsStream("join.sh")) {
      if (in == null) {
        throw new IllegalStateException("join.sh is missing from the coordinator's jar");
      }
      template = new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * The script for a caller.
   *
   * @param scheme http or https
   * @param host the request's {@code Host}: the name by which the caller reached the coordinator
   * @return empty where {@code host} is no {@code HOST} or {@code HOST:PORT}
   */
  Optional<String> text(String scheme, String host, List<Archive> archives) {
    if (!HOST.matcher(host).matches()) {
      return Optional.empty();
    }
    String list =
        archives.stream()
            .filter(archive -> archive.name().startsWith("baton-worker-"))
            .map(Archive::line)
            .collect(Collectors.joining());
    return Optional.of(
        template.replace("@BASE_URL@", scheme + "://" + host).replace("@ARCHIVES@", list));
  }
}
