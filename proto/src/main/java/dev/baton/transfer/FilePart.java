package dev.baton.transfer;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/**
 * A stretch of a file on its way out. The HTTP client's threads read it; the transferring thread
 * asks how far they are, and closes it.
 */
final class FilePart implements AutoCloseable {
  private final Path file;
  private final FileChannel channel;
  private final long offset;
  private final long bytes;
  private volatile long position;
  private volatile int crc32c;
  private volatile @Nullable IOException failure;

  FilePart(Path file, long offset, long bytes) throws IOException {
    this.file = file;
    this.channel = FileChannel.open(file, StandardOpenOption.READ);
    this.offset = offset;
    this.bytes = bytes;
  }

  /** Bytes of the part that were read so far. */
  long position() {
    return position;
  }

  /** Of the bytes read so far. */
  int crc32c() {
    return crc32c;
  }

  /** Throws what reading the file threw, if it did: that is no failure in transit. */
  void throwIfUnreadable() throws IOException {
    IOException thrown = failure;
    if (thrown != null) {
      throw thrown;
    }
  }

  /** The part from its first byte. */
  InputStream open() {
    position = 0;
    crc32c = 0;
    return new Stream();
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private final class Stream extends InputStream {
    private final CRC32C crc = new CRC32C();
    private long done;

    @Override
    public int read() throws IOException {
      byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
    }

    @Override
    public int read(byte[] target, int start, int length) throws IOException {
      if (done == bytes) {
        return -1;
      }
      int wanted = (int) Math.min(length, bytes - done);
      int read;
      try {
        read = channel.read(ByteBuffer.wrap(target, start, wanted), offset + done);
        if (read < 0) {
          throw new DigestMismatchException(file + " became shorter while it was sent");
        }
      } catch (IOException e) {
        failure = e;
        throw e;
      }
      crc.update(target, start, read);
      done += read;
      crc32c = (int) crc.getValue();
      position = done;
      return read;
    }
  }
}
