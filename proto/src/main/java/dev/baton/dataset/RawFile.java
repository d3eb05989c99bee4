package dev.baton.dataset;

import java.io.BufferedInputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/**
 * The bytes of a file at random, gunzipped where need be. What is gunzipped lies in a file without
 * a name, so that nothing is left behind however the process ends. Any number of threads.
 */
final class RawFile implements Closeable {
  private static final int COPY_BYTES = 1 << 16;

  private final String name;
  private final FileChannel channel;
  private final long size;

  private RawFile(String name, FileChannel channel, long size) {
    this.name = name;
    this.channel = channel;
    this.size = size;
  }

  /**
   * Opens a file.
   *
   * @param name for messages
   * @param tempDir for what must be gunzipped
   * @param limit the most bytes that are gunzipped; one more is an error
   */
  static RawFile open(Path file, String name, Path tempDir, long limit) throws IOException {
    if (!isGzip(file)) {
      return openPlain(file, name);
    }
    Files.createDirectories(tempDir);
    Path temp = Files.createTempFile(tempDir, "inflate-", ".tmp");
    FileChannel channel = FileChannel.open(temp, StandardOpenOption.READ, StandardOpenOption.WRITE);
    try {
      Files.delete(temp);
      return new RawFile(name, channel, inflate(file, name, channel, limit));
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  /** Opens a file whose bytes are taken as they are. */
  static RawFile openPlain(Path file, String name) throws IOException {
    FileChannel channel = FileChannel.open(file, StandardOpenOption.READ);
    return new RawFile(name, channel, channel.size());
  }

  /** The first bytes of a file, gunzipped where need be; fewer where it is shorter. */
  static byte[] head(Path file, String name, int bytes) throws IOException {
    boolean gzip = isGzip(file);
    try (InputStream in = gzip ? gunzip(file) : Files.newInputStream(file)) {
      return in.readNBytes(bytes);
    } catch (EOFException | ZipException e) {
      throw damagedGzip(name, e);
    }
  }

  static boolean isGzip(Path file) throws IOException {
    try (InputStream in = Files.newInputStream(file)) {
      byte[] magic = in.readNBytes(2);
      return magic.length == 2 && magic[0] == 0x1F && magic[1] == (byte) 0x8B;
    }
  }

  private static GZIPInputStream gunzip(Path file) throws IOException {
    return new GZIPInputStream(
        new BufferedInputStream(Files.newInputStream(file), COPY_BYTES), COPY_BYTES);
  }

  private static long inflate(Path file, String name, FileChannel target, long limit)
      throws IOException {
    long size = 0;
    byte[] bytes = new byte[COPY_BYTES];
    try (InputStream in = gunzip(file)) {
      for (int n; (n = in.read(bytes)) >= 0; ) {
        size += n;
        if (size > limit) {
          throw new DatasetException(
              name + " unpacks to more than the " + limit + " bytes that it may hold");
        }
        ByteBuffer chunk = ByteBuffer.wrap(bytes, 0, n);
        while (chunk.hasRemaining()) {
          target.write(chunk);
        }
      }
    } catch (EOFException | ZipException e) {
      throw damagedGzip(name, e);
    }
    return size;
  }

  private static DatasetException damagedGzip(String name, IOException cause) {
    return new DatasetException(
        cause instanceof EOFException
            ? name + " is a truncated gzip file; fetch it again"
            : name + " is a damaged gzip file (" + cause.getMessage() + "); fetch it again",
        cause);
  }

  String name() {
    return name;
  }

  long size() {
    return size;
  }

  /** Bytes [position, position + length). */
  byte[] read(long position, int length) throws IOException {
    byte[] bytes = new byte[length];
    read(position, ByteBuffer.wrap(bytes));
    return bytes;
  }

  /** Fills what remains of the buffer. */
  void read(long position, ByteBuffer target) throws IOException {
    for (long at = position; target.hasRemaining(); ) {
      int n = channel.read(target, at);
      if (n < 0) {
        throw new DatasetException(name + " ends at byte " + at + ", in the middle of a sample");
      }
      at += n;
    }
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
