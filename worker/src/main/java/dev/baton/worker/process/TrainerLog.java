package dev.baton.worker.process;

import dev.baton.worker.cache.LocalDisk;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What a trainer prints, in a file; one thread appends, another reads behind it. */
public final class TrainerLog {
  private static final Logger log = LoggerFactory.getLogger(TrainerLog.class);

  private static final byte[] GAP =
      "\n[output is missing here: the worker could not write it]\n"
          .getBytes(StandardCharsets.UTF_8);

  private final Path file;
  private final FileChannel out;
  private long bytes;
  private boolean failing;

  private TrainerLog(Path file, FileChannel out) {
    this.file = file;
    this.out = out;
  }

  /** Begins an empty one. */
  public static TrainerLog create(Path file) throws IOException {
    return new TrainerLog(
        file,
        FileChannel.open(
            file,
            StandardOpenOption.CREATE,
            StandardOpenOption.TRUNCATE_EXISTING,
            StandardOpenOption.WRITE));
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

  /**
   * Appends. What cannot be written, where the disk is full, is lost, but the trainer is not held
   * up; the log says where that was, once there is room again.
   */
  synchronized void append(byte[] data, int n) {
    try {
      if (failing) {
        write(ByteBuffer.wrap(GAP));
        failing = false;
      }
      write(ByteBuffer.wrap(data, 0, n));
      notifyAll();
    } catch (IOException e) {
      if (!failing) {
        failing = true;
        log.error(
            "what the trainer prints is lost for the time being: {}",
            LocalDisk.isFull(e)
                ? LocalDisk.full("the trainer's output", file)
                : file + " cannot be written: " + e.getMessage());
      }
    }
  }

  // What was written in part is written over.
  private void write(ByteBuffer data) throws IOException {
    long at = bytes;
    while (data.hasRemaining()) {
      at += out.write(data, at);
    }
    bytes = at;
  }

  synchronized void close() throws IOException {
    out.close();
    notifyAll();
  }
}
