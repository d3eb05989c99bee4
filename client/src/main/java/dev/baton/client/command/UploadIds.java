package dev.baton.client.command;

import java.io.IOException;
import java.io.Reader;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Properties;
import java.util.UUID;

/**
 * The ids of uploads under way, kept in a file, so that a push that was interrupted goes on with
 * the objects it began.
 */
final class UploadIds {
  private final Path file;
  private final Properties ids = new Properties();

  private UploadIds(Path file) {
    this.file = file;
  }

  /** Those remembered in {@code file}; none where there is no such file. */
  static UploadIds in(Path file) throws IOException {
    UploadIds uploads = new UploadIds(file);
    try (Reader reader = Files.newBufferedReader(file)) {
      uploads.ids.load(reader);
    } catch (NoSuchFileException | IllegalArgumentException e) {
      // The first push of this content, or a file that says nothing: new ids.
      uploads.ids.clear();
    }
    return uploads;
  }

  /** The id for content of that SHA-256, remembered before it is used. */
  String idFor(String sha256) throws IOException {
    String known = ids.getProperty(sha256);
    if (known != null) {
      return known;
    }
    String id = UUID.randomUUID().toString();
    ids.setProperty(sha256, id);
    Files.createDirectories(file.toAbsolutePath().getParent());
    try (Writer writer = Files.newBufferedWriter(file)) {
      ids.store(writer, "uploads under way");
    }
    return id;
  }

  /** The upload is over, or cannot go on. */
  void forget() throws IOException {
    Files.deleteIfExists(file);
  }
}
