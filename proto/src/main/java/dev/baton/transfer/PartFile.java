package dev.baton.transfer;

import java.io.IOException;
import java.net.http.HttpResponse.BodySubscriber;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Flow;
import org.jspecify.annotations.Nullable;

/**
 * A file that grows by a download, and the digest of what it holds. It is written through one
 * {@link Sink} at a time, by the HTTP client's threads.
 */
final class PartFile implements AutoCloseable {
  private static final int BUFFER_BYTES = 1 << 20;

  private final Path path;
  private final FileChannel channel;
  private final long limit;
  private MessageDigest sha256 = Contents.sha256();
  private volatile long position;

  private PartFile(Path path, FileChannel channel, long limit) {
    this.path = path;
    this.channel = channel;
    this.limit = limit;
  }

  /**
   * Opens it, with what an earlier download has left in it.
   *
   * @param limit the bytes that it is to hold in the end
   */
  static PartFile open(Path path, long limit) throws IOException {
    FileChannel channel =
        FileChannel.open(
            path, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
    PartFile file = new PartFile(path, channel, limit);
    try {
      file.takeUp();
    } catch (IOException e) {
      channel.close();
      throw e;
    }
    return file;
  }

  private void takeUp() throws IOException {
    if (channel.size() > limit) {
      restart();
      return;
    }
    ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);
    while (channel.read(buffer.clear()) >= 0) {
      sha256.update(buffer.flip());
    }
    position = channel.position();
  }

  /** Bytes held. */
  long position() {
    return position;
  }

  /** Of what it holds; to be asked once. */
  synchronized String sha256() {
    return HexFormat.of().formatHex(sha256.digest());
  }

  /** Drops what it holds. */
  synchronized void restart() throws IOException {
    channel.truncate(0);
    channel.position(0);
    sha256 = Contents.sha256();
    position = 0;
  }

  void force() throws IOException {
    channel.force(true);
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }

  private synchronized void write(ByteBuffer bytes) throws IOException {
    if (position + bytes.remaining() > limit) {
      throw new DigestMismatchException(
          path.getFileName() + ": the object has more than the " + limit + " bytes promised");
    }
    int length = bytes.remaining();
    sha256.update(bytes.duplicate());
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
    position += length;
  }

  Sink sink(Bandwidth bandwidth) {
    return new Sink(bandwidth);
  }

  /** Takes the body of one answer. Once it is closed nothing more is written through it. */
  final class Sink implements BodySubscriber<String>, AutoCloseable {
    private final Bandwidth bandwidth;
    private final CompletableFuture<String> body = new CompletableFuture<>();
    private @Nullable PacedSubscription subscription;
    private boolean closed;
    private @Nullable IOException failure;

    private Sink(Bandwidth bandwidth) {
      this.bandwidth = bandwidth;
    }

    /** This, with the first byte to come at {@code from}: 0, or behind what is there. */
    synchronized Sink behind(long from) {
      if (from == 0 && !closed) {
        try {
          restart();
        } catch (IOException e) {
          failure = e;
        }
      }
      return this;
    }

    /** Throws what writing threw, if it did: that is no failure in transit. */
    synchronized void throwIfUnwritable() throws IOException {
      if (failure != null) {
        throw failure;
      }
    }

    @Override
    public synchronized void close() {
      closed = true;
    }

    @Override
    public CompletionStage<String> getBody() {
      return body;
    }

    @Override
    public synchronized void onSubscribe(Flow.Subscription newSubscription) {
      subscription = new PacedSubscription(newSubscription, bandwidth);
      subscription.request(1);
    }

    @Override
    public synchronized void onNext(List<ByteBuffer> buffers) {
      PacedSubscription source = subscription;
      if (source == null) {
        return;
      }
      try {
        throwIfUnwritable();
        if (closed) {
          throw new IOException("the transfer was given up");
        }
        for (ByteBuffer buffer : buffers) {
          source.moved(buffer.remaining());
          write(buffer);
        }
        source.request(1);
      } catch (IOException e) {
        failure = e;
        source.cancel();
        body.completeExceptionally(e);
      }
    }

    @Override
    public void onError(Throwable thrown) {
      body.completeExceptionally(thrown);
    }

    @Override
    public void onComplete() {
      body.complete("");
    }
  }
}
