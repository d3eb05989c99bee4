package dev.baton.worker.cache;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.stream.Stream;

/** This machine's disk, and the one line for when it is full. */
public final class LocalDisk {
  private LocalDisk() {}

  /**
   * Whether a failure is a full disk, or a quota that is used up: Java has no exception of its own
   * for ENOSPC and EDQUOT, only what the C library calls them.
   */
  public static boolean isFull(Throwable e) {
    return Stream.<Throwable>iterate(e, Objects::nonNull, Throwable::getCause)
        .filter(IOException.class::isInstance)
        .map(cause -> String.valueOf(cause.getMessage()))
        .anyMatch(m -> m.contains("No space left on device") || m.contains("quota exceeded"));
  }

  /**
   * One line for the user.
   *
   * @param what there is no room for
   * @param where it was to be written
   */
  public static String full(String what, Path where) {
    return "no space left on this worker's disk for %s: %s has %s free; make room there, or start the worker with a --work-dir on a larger disk"
        .formatted(what, where, free(where));
  }

  private static String free(Path where) {
    try {
      return usableBytes(where) + " bytes";
    } catch (IOException e) {
      return "nothing";
    }
  }

  /** Bytes that may still be written to the disk of a file or folder, which need not exist yet. */
  public static long usableBytes(Path where) throws IOException {
    Path present = where.toAbsolutePath();
    Path parent = present.getParent();
    while (!Files.exists(present) && parent != null) {
      present = parent;
      parent = present.getParent();
    }
    return Files.getFileStore(present).getUsableSpace();
  }
}
