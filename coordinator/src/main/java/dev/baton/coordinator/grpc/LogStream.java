package dev.baton.coordinator.grpc;

import com.google.protobuf.ByteString;
import dev.baton.coordinator.core.Reads;
import dev.baton.v1.LogChunk;
import io.grpc.stub.ServerCallStreamObserver;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Sends one reader a job's log as fast as it reads: nothing is buffered beyond one chunk. Any
 * thread may wake it; one at a time works.
 */
final class LogStream {
  private static final int CHUNK = 128 << 10;

  private final ServerCallStreamObserver<LogChunk> reader;
  private final Reads reads;
  private final Executor blocking;
  private final String jobId;
  private final AtomicInteger wakes = new AtomicInteger();
  private volatile boolean finishing;
  // Only the thread that works touches these; wakes hands them on.
  private long offset;
  private boolean over;

  LogStream(
      ServerCallStreamObserver<LogChunk> reader,
      Reads reads,
      Executor blocking,
      String jobId,
      long offset) {
    this.reader = reader;
    this.reads = reads;
    this.blocking = blocking;
    this.jobId = jobId;
    this.offset = offset;
  }

  /** There may be more to send, or the reader may have room again. */
  void wake() {
    if (wakes.getAndIncrement() == 0) {
      blocking.execute(this::work);
    }
  }

  /** The log will not grow any more: ends the stream behind what there is. */
  void finish() {
    finishing = true;
    wake();
  }

  private void work() {
    int seen;
    do {
      seen = wakes.get();
      try {
        send();
      } catch (RuntimeException e) {
        over = true;
        reader.onError(GrpcErrors.translate(e));
      }
    } while (wakes.addAndGet(-seen) != 0);
  }

  private void send() {
    while (!over && !reader.isCancelled() && reader.isReady()) {
      boolean last = finishing;
      ByteString data = reads.read(stores -> stores.logs().read(jobId, offset, CHUNK));
      if (!data.isEmpty()) {
        reader.onNext(LogChunk.newBuilder().setOffset(offset).setData(data).build());
        offset += data.size();
      } else if (last) {
        over = true;
        reader.onCompleted();
      } else {
        return;
      }
    }
  }
}
