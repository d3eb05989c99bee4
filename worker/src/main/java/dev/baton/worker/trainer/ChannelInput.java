package dev.baton.worker.trainer;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;

/**
 * A channel's bytes; buffered, as messages are read byte by byte at their beginning. For both ends
 * of the socket: the stream of {@link java.nio.channels.Channels} holds, while it waits, a lock
 * that every writer of the channel needs. One thread reads.
 */
public final class ChannelInput extends InputStream {
  private final SocketChannel channel;
  private final ByteBuffer buffer = ByteBuffer.allocate(1 << 14).limit(0);

  /** Reads a channel in blocking mode. */
  public ChannelInput(SocketChannel channel) {
    this.channel = channel;
  }

  @Override
  public int read() throws IOException {
    return fill() ? buffer.get() & 0xFF : -1;
  }

  @Override
  public int read(byte[] target, int offset, int length) throws IOException {
    if (length == 0) {
      return 0;
    }
    if (!fill()) {
      return -1;
    }
    int n = Math.min(length, buffer.remaining());
    buffer.get(target, offset, n);
    return n;
  }

  private boolean fill() throws IOException {
    if (!buffer.hasRemaining()) {
      buffer.clear();
      int n = channel.read(buffer);
      buffer.flip();
      return n > 0;
    }
    return true;
  }
}
