package dev.baton.doctor;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Looks at folders, disks and limits of this machine. Leaves everything as it is. */
public final class MachineChecks {
  private static final int FILES_COLUMN = 4;

  private MachineChecks() {}

  /**
   * Whether a folder can be written to, or made.
   *
   * @param check the finding's name
   * @return the folder, or the nearest one above that exists
   */
  public static Path writable(Diagnosis diagnosis, String check, Path folder) {
    Path existing = folder.toAbsolutePath().normalize();
    while (!Files.exists(existing) && existing.getParent() != null) {
      existing = existing.getParent();
    }
    if (!Files.isDirectory(existing)) {
      diagnosis.fail(check, existing + " is a file, not a folder; name another");
      return existing;
    }
    boolean there = Files.exists(folder);
    try {
      Files.delete(Files.createTempFile(existing, ".baton-doctor", ""));
      diagnosis.ok(check, folder + (there ? " can be written to" : " will be made"));
    } catch (IOException e) {
      diagnosis.fail(
          check,
          (there ? folder + " cannot be written to" : folder + " cannot be made in " + existing)
              + " ("
              + reason(e)
              + "); let user "
              + System.getProperty("user.name")
              + " write there, or name another folder");
    }
    return existing;
  }

  /**
   * The process that holds a lock, as it wrote into the locked file; empty where nobody does.
   *
   * @throws IOException where the file does not let us find out
   */
  public static Optional<String> holder(Path lockFile) throws IOException {
    if (!Files.exists(lockFile)) {
      return Optional.empty();
    }
    try (FileChannel channel =
        FileChannel.open(lockFile, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      boolean held;
      try {
        held = channel.tryLock() == null;
      } catch (OverlappingFileLockException e) {
        held = true;
      }
      return held ? Optional.of(Files.readString(lockFile).strip()) : Optional.empty();
    }
  }

  /**
   * Space in a folder's file system.
   *
   * @param least below it, nothing works, in bytes
   * @param enough below it, it will not be for long
   */
  public static void space(Diagnosis diagnosis, Path folder, long least, long enough) {
    try {
      long free = Files.getFileStore(folder).getUsableSpace();
      if (free < least) {
        diagnosis.fail("disk", bytes(free) + " free at " + folder + "; make room, or move it");
      } else if (free < enough) {
        diagnosis.warn(
            "disk",
            bytes(free) + " free at " + folder + ", less than " + bytes(enough) + "; make room");
      } else {
        diagnosis.ok("disk", bytes(free) + " free at " + folder);
      }
    } catch (IOException e) {
      diagnosis.warn("disk", "the free space at " + folder + " is unknown: " + reason(e));
    }
  }

  /** Whether others than its owner can read a file that holds a secret. No file is no finding. */
  public static void secret(Diagnosis diagnosis, Path file) {
    try {
      if (Files.exists(file)) {
        Set<PosixFilePermission> others = Files.getPosixFilePermissions(file);
        others.removeAll(PosixFilePermissions.fromString("rwx------"));
        if (!others.isEmpty()) {
          diagnosis.warn("secrets", file + " can be read by others: chmod 600 " + file);
        }
      }
    } catch (IOException | UnsupportedOperationException e) {
      diagnosis.warn("secrets", "nobody knows who can read " + file + ": " + e.getMessage());
    }
  }

  /**
   * How many files a process may open.
   *
   * @param enough fewer are not
   */
  public static void openFiles(Diagnosis diagnosis, long enough) {
    @Nullable String limit = null;
    try {
      // The hard one: the JVM raises its own limit to it.
      for (String line : Files.readAllLines(Path.of("/proc/self/limits"))) {
        if (line.startsWith("Max open files")) {
          limit = line.split("\\s+", -1)[FILES_COLUMN];
        }
      }
    } catch (IOException e) {
      // Another system.
      return;
    }
    if (limit == null || !limit.matches("\\d{1,18}") || Long.parseLong(limit) >= enough) {
      diagnosis.ok("files", "a process may open " + (limit == null ? "many" : limit));
    } else {
      diagnosis.warn(
          "files",
          "a process may open "
              + limit
              + " files alone; raise that to "
              + enough
              + " (ulimit -Hn, or LimitNOFILE= in the service file)");
    }
  }

  /** 1.5 GiB. */
  public static String bytes(long bytes) {
    return bytes < 1L << 30
        ? String.format(Locale.ROOT, "%d MiB", bytes >> 20)
        : String.format(Locale.ROOT, "%.1f GiB", bytes / (double) (1L << 30));
  }

  private static String reason(IOException e) {
    if (e instanceof AccessDeniedException) {
      return "permission denied";
    }
    if (e instanceof NoSuchFileException) {
      return "no file can be made there";
    }
    String message = e instanceof FileSystemException f ? f.getReason() : e.getMessage();
    return message == null ? e.getClass().getSimpleName() : message;
  }
}
