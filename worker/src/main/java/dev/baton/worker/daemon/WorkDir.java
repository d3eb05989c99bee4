package dev.baton.worker.daemon;

import dev.baton.worker.cache.Trees;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import org.jspecify.annotations.Nullable;

/**
 * A worker's directory, for one worker at a time.
 *
 * <pre>
 * lock  worker.log
 * datasets/  decoded/     kept from one start to the next
 * trainers/  attempts/  tmp/    swept at start: trainers halted with the daemon that they belonged to
 * </pre>
 */
public final class WorkDir implements AutoCloseable {
  /** The file that is locked, and names the process. */
  public static final String LOCK = "lock";

  private static final String TEMPORARY = "tmp";

  private final Path path;
  private final FileChannel lockFile;

  private WorkDir(Path path, FileChannel lockFile) {
    this.path = path;
    this.lockFile = lockFile;
  }

  /**
   * Takes a directory, making it where need be.
   *
   * @throws IOException in one line, also where another worker has it
   */
  public static WorkDir open(Path dir) throws IOException {
    Path path = dir.toAbsolutePath().normalize();
    Files.createDirectories(path);
    FileChannel file =
        FileChannel.open(
            path.resolve(LOCK),
            StandardOpenOption.CREATE,
            StandardOpenOption.READ,
            StandardOpenOption.WRITE);
    try {
      FileLock lock = tryLock(file);
      if (lock == null) {
        ByteBuffer pid = ByteBuffer.allocate(32);
        int n = Math.max(0, file.read(pid, 0));
        throw new IOException(
            path
                + " is in use by another worker (pid "
                + new String(pid.array(), 0, n, StandardCharsets.UTF_8).strip()
                + "); give each worker a --work-dir of its own");
      }
      file.truncate(0);
      file.write(
          ByteBuffer.wrap(
              Long.toString(ProcessHandle.current().pid()).getBytes(StandardCharsets.UTF_8)),
          0);
      for (String swept : new String[] {"trainers", "attempts", TEMPORARY}) {
        Trees.delete(path.resolve(swept));
        // Sockets lie in there: whoever may connect to one is a trainer.
        Files.createDirectory(
            path.resolve(swept),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      }
      return new WorkDir(path, file);
    } catch (IOException e) {
      file.close();
      throw e;
    }
  }

  private static @Nullable FileLock tryLock(FileChannel file) throws IOException {
    try {
      return file.tryLock();
    } catch (OverlappingFileLockException e) {
      return null;
    }
  }

  public Path path() {
    return path;
  }

  /** For what is needed while the worker runs. */
  public Path temporary() {
    return path.resolve(TEMPORARY);
  }

  @Override
  public void close() throws IOException {
    lockFile.close();
  }
}
