package dev.baton.coordinator.web;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A folder of release archives. What its {@code SHA256SUMS} (of {@code sha256sum}'s format) names
 * is served, and {@code SHA256SUMS} itself, nothing else. The file is read anew each time, so that
 * a release can be put there while the coordinator runs.
 */
final class Releases {
  static final String SUMS = "SHA256SUMS";

  // Names go into a shell script: nothing that a shell would take for more than a word.
  private static final Pattern LINE =
      Pattern.compile("([0-9a-fA-F]{64}) [ *]([A-Za-z0-9][A-Za-z0-9._+-]{0,199})");

  private final Path folder;

  Releases(Path folder) {
    this.folder = folder;
  }

  /**
   * A file that is served.
   *
   * @param size bytes
   * @param sha256 what {@code SHA256SUMS} promises: lower-case hexadecimal
   */
  record Archive(String name, Path file, long size, String sha256, FileTime modified) {
    /** As listings have it: name, bytes, SHA-256. */
    String line() {
      return name + " " + size + " " + sha256 + "\n";
    }
  }

  /** What is there, the newest last; nothing where there is no {@code SHA256SUMS}. */
  List<Archive> list() throws IOException {
    String sums;
    try {
      sums = Files.readString(folder.resolve(SUMS), StandardCharsets.ISO_8859_1);
    } catch (NoSuchFileException e) {
      return List.of();
    }
    List<Archive> archives = new ArrayList<>();
    for (String line : sums.lines().toList()) {
      Matcher m = LINE.matcher(line);
      if (m.matches()) {
        archive(m.group(2), m.group(1)).ifPresent(archives::add);
      }
    }
    archives.sort(Comparator.comparing(Archive::modified).thenComparing(Archive::name));
    return archives;
  }

  /** The file of this name, if it is served. */
  Optional<Archive> find(String name) throws IOException {
    if (name.equals(SUMS)) {
      return Files.isRegularFile(folder.resolve(SUMS))
          ? archive(SUMS, sha256(Files.readAllBytes(folder.resolve(SUMS))))
          : Optional.empty();
    }
    return list().stream().filter(archive -> archive.name().equals(name)).findFirst();
  }

  private Optional<Archive> archive(String name, String sha256) throws IOException {
    try {
      // Follows links, so that none leads out of the folder.
      Path file = folder.resolve(name).toRealPath();
      if (!file.startsWith(folder.toRealPath()) || !Files.isRegularFile(file)) {
        return Optional.empty();
      }
      return Optional.of(
          new Archive(
              name,
              file,
              Files.size(file),
              sha256.toLowerCase(Locale.ROOT),
              Files.getLastModifiedTime(file)));
    } catch (NoSuchFileException e) {
      return Optional.empty();
    }
  }

  private static String sha256(byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }
}
