package dev.baton.client.command;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** A folder of temporary files that goes when it is closed, or when the process is ended. */
final class ScratchFolder implements AutoCloseable {
  private final Path path;

  private ScratchFolder(Path path) {
    this.path = path;
    Runtime.getRuntime().addShutdownHook(new Thread(this::deleteQuietly));
  }

  /** A new one in {@code TMPDIR}, or where temporary files are customary. */
  static ScratchFolder create(Map<String, String> environment) throws IOException {
    String parent = environment.get("TMPDIR");
    return new ScratchFolder(
        parent == null || parent.isEmpty()
            ? Files.createTempDirectory("baton-")
            : Files.createTempDirectory(Path.of(parent), "baton-"));
  }

  Path path() {
    return path;
  }

  @Override
  public void close() throws IOException {
    delete();
  }

  private void deleteQuietly() {
    try {
      delete();
    } catch (IOException e) {
      // The process ends, and nobody is left to tell; the system clears its temporary files.
      return;
    }
  }

  private void delete() throws IOException {
    List<Path> deepestFirst;
    try (Stream<Path> all = Files.walk(path)) {
      deepestFirst = all.sorted(Comparator.reverseOrder()).toList();
    }
    for (Path file : deepestFirst) {
      Files.deleteIfExists(file);
    }
  }
}
