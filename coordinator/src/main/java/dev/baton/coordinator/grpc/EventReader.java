package dev.baton.coordinator.grpc;

import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;

/**
 * One who reads events that come whether he reads or not. On the core's thread only.
 *
 * <p>A reader that is too slow misses what may be dropped until it has caught up, but nothing else.
 * Should even that pile up, it is cut off, to ask again.
 */
final class EventReader<E> {
  private static final int MAX_BEHIND = 10_000;

  private final ServerCallStreamObserver<E> stream;
  private int behind;

  EventReader(ServerCallStreamObserver<E> stream) {
    this.stream = stream;
  }

  /** Whether it reads from this stream. */
  boolean readsFrom(ServerCallStreamObserver<E> other) {
    return stream == other;
  }

  /** False once the stream is over. */
  boolean offer(E event, boolean droppable) {
    if (stream.isCancelled()) {
      return false;
    }
    if (stream.isReady()) {
      behind = 0;
    } else if (droppable) {
      return true;
    } else if (++behind > MAX_BEHIND) {
      stream.onError(
          Status.UNAVAILABLE
              .withDescription("the reader is too slow; ask again")
              .asRuntimeException());
      return false;
    }
    stream.onNext(event);
    return true;
  }

  /** Nothing more will come. */
  void complete() {
    if (!stream.isCancelled()) {
      stream.onCompleted();
    }
  }

  /** Ends the stream with this status. */
  void close(Status status) {
    if (!stream.isCancelled()) {
      stream.onError(status.asRuntimeException());
    }
  }
}
