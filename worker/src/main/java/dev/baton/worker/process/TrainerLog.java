package dev.baton.worker.process;

import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What a trainer prints, in a file; one thread appends, another reads behind it. */
public final class TrainerLog {
  private static final Logger log = LoggerFactory.getLogger(TrainerLog.class);

  private final Path file;
  private final OutputStream out;
  private long bytes;
  private boolean full;

  private TrainerLog(Path file, OutputStream out) {
    this.file = file;
    this.out = out;
  }

  /** Begins an empty one. */
  public static TrainerLog create(Path file) throws IOException {
    return new TrainerLog(file, new FileOutputStream(file.toFile()));
  }

  public Path file() {
    return file;
  }

  /** Bytes written. */
  public synchronized long bytes() {
    return bytes;
  }

  /** Reads up to {@code limit} bytes from {@code offset} on. */
  public byte[] read(long offset, int limit) throws IOException {
    int n = (int) Math.min(limit, bytes() - offset);
    ByteBuffer buffer = ByteBuffer.allocate(Math.max(0, n));
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      while (buffer.hasRemaining() && channel.read(buffer, offset + buffer.position()) >= 0) {
        // Until everything that was written is there.
      }
    }
    return buffer.array();
  }

  /** Appends; where the disk is full the rest is lost, but the trainer is not held up. */
  synchronized void append(byte[] data, int n) {
    if (full) {
      return;
    }
    try {
      out.write(data, 0, n);
      bytes += n;
      notifyAll();
    } catch (IOException e) {
      full = true;
      log.error(
          "{} cannot be written ({}); the trainer's further output is lost", file, e.getMessage());
    }
  }

  synchronized void close() throws IOException {
    out.close();
    notifyAll();
  }
}
