package dev.baton.worker.trainer;

import com.google.protobuf.InvalidProtocolBufferException;
import dev.baton.v1.DaemonMessage;
import dev.baton.v1.TrainerMessage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** The trainer's end of the socket to its daemon. One thread reads; any may send. */
final class DaemonLink implements AutoCloseable {
  private final SocketChannel channel;
  private final InputStream in;

  private DaemonLink(SocketChannel channel) {
    this.channel = channel;
    this.in = new ChannelInput(channel);
  }

  static DaemonLink connect(Path socket) throws IOException {
    SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    try {
      channel.connect(UnixDomainSocketAddress.of(socket));
    } catch (IOException e) {
      channel.close();
      throw e;
    }
    return new DaemonLink(channel);
  }

  /** The next message; null at the socket's end. */
  @Nullable DaemonMessage receive() throws IOException {
    try {
      return DaemonMessage.parseDelimitedFrom(in);
    } catch (InvalidProtocolBufferException e) {
      throw e.unwrapIOException();
    }
  }

  /** Sends a message whole. */
  synchronized void send(TrainerMessage message) {
    try {
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      message.writeDelimitedTo(bytes);
      ByteBuffer buffer = ByteBuffer.wrap(bytes.toByteArray());
      while (buffer.hasRemaining()) {
        channel.write(buffer);
      }
    } catch (IOException e) {
      throw new UncheckedIOException("the daemon cannot be reached", e);
    }
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
