package dev.baton.coordinator.config;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import org.jspecify.annotations.Nullable;

/**
 * The folder that holds everything a coordinator keeps, locked for as long as this process lives: a
 * second one on the same folder would be two writers.
 */
public final class DataDir implements AutoCloseable {
  /** The file that is locked, and names the process. */
  public static final String LOCK = "coordinator.lock";

  private final Path path;
  private final FileChannel lockFile;

  private DataDir(Path path, FileChannel lockFile) {
    this.path = path;
    this.lockFile = lockFile;
  }

  /** Creates the folder where it is missing, and takes the lock. */
  public static DataDir open(Path path) {
    try {
      Files.createDirectories(path);
    } catch (FileAlreadyExistsException e) {
      throw new ConfigException("--data-dir " + path + ": is a file, not a folder");
    } catch (IOException e) {
      throw new ConfigException("--data-dir " + path + ": cannot be created: " + reason(e));
    }
    Path lockPath = path.resolve(LOCK);
    FileChannel channel;
    try {
      channel =
          FileChannel.open(
              lockPath,
              StandardOpenOption.CREATE,
              StandardOpenOption.READ,
              StandardOpenOption.WRITE);
    } catch (IOException e) {
      throw new ConfigException("--data-dir " + path + ": cannot be written to: " + reason(e));
    }
    try {
      if (lock(channel) == null) {
        String holder = Files.readString(lockPath).strip();
        channel.close();
        throw new ConfigException(
            "--data-dir "
                + path
                + ": another coordinator works on it"
                + (holder.isEmpty() ? "" : " (process " + holder + ")"));
      }
      channel.truncate(0);
      channel.write(
          ByteBuffer.wrap((ProcessHandle.current().pid() + "\n").getBytes(StandardCharsets.UTF_8)));
    } catch (IOException e) {
      throw new ConfigException("--data-dir " + path + ": cannot be locked: " + reason(e));
    }
    return new DataDir(path, channel);
  }

  private static @Nullable FileLock lock(FileChannel channel) throws IOException {
    try {
      return channel.tryLock();
    } catch (OverlappingFileLockException e) {
      return null;
    }
  }

  /** The folder. */
  public Path path() {
    return path;
  }

  /** An empty folder in it, for what is needed while this process lives. */
  public Path temporary() throws IOException {
    Path folder = path.resolve("tmp");
    if (Files.isDirectory(folder)) {
      try (var old = Files.list(folder)) {
        for (Path file : old.toList()) {
          Files.delete(file);
        }
      }
    }
    return Files.createDirectories(folder);
  }

  /** A file or folder in it. */
  public Path resolve(String name) {
    return path.resolve(name);
  }

  /** Writes a file that only its owner may read. It exists whole and on disk, or not at all. */
  public void writeSecret(String name, String text) throws IOException {
    Path file = path.resolve(name);
    Path draft = path.resolve(name + ".new");
    Files.deleteIfExists(draft);
    Files.createFile(
        draft, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    try (var channel = FileChannel.open(draft, StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8)));
      channel.force(true);
    }
    Files.move(draft, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    try (var folder = FileChannel.open(path, StandardOpenOption.READ)) {
      folder.force(true);
    }
  }

  /** Gives the lock back. */
  @Override
  public void close() throws IOException {
    lockFile.close();
  }

  /** One line for an I/O failure; the exceptions of java.nio often carry only the file's name. */
  public static String reason(IOException e) {
    if (e instanceof AccessDeniedException) {
      return "permission denied";
    }
    if (e instanceof NoSuchFileException) {
      return "no such file";
    }
    if (e instanceof FileSystemException failure && failure.getReason() != null) {
      return failure.getReason();
    }
    return String.valueOf(e.getMessage());
  }
}
