package dev.baton.coordinator.grpc;

import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.Restarting;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.util.HashMap;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The open streams to workers. On the core's thread only, but for {@link #size}. */
final class SessionStreams {
  private static final Logger log = LoggerFactory.getLogger(SessionStreams.class);

  private record Key(String workerId, long session) {}

  private final Map<Key, StreamObserver<CoordinatorMessage>> streams = new HashMap<>();
  private volatile int size;

  /** Messages for this session go to this stream from now on. */
  void open(String workerId, long session, StreamObserver<CoordinatorMessage> stream) {
    streams.put(new Key(workerId, session), stream);
    size = streams.size();
  }

  /** The stream has ended. False where it is not the session's, or is no longer known. */
  boolean closed(String workerId, long session, StreamObserver<CoordinatorMessage> stream) {
    boolean removed = streams.remove(new Key(workerId, session), stream);
    size = streams.size();
    return removed;
  }

  /** Drops the message where the stream is gone. */
  void send(String workerId, long session, CoordinatorMessage message) {
    StreamObserver<CoordinatorMessage> stream = streams.get(new Key(workerId, session));
    if (stream != null) {
      stream.onNext(message);
    }
  }

  /** Ends a session's stream with this status, if it is still open. */
  void close(String workerId, long session, Status status) {
    StreamObserver<CoordinatorMessage> stream = streams.remove(new Key(workerId, session));
    size = streams.size();
    if (stream != null) {
      stream.onError(status.asRuntimeException());
    }
  }

  /** Tells every worker that the coordinator means to be back, and ends the streams. */
  void sayRestarting() {
    var restarting =
        CoordinatorMessage.newBuilder().setRestarting(Restarting.getDefaultInstance()).build();
    for (StreamObserver<CoordinatorMessage> stream : streams.values()) {
      try {
        stream.onNext(restarting);
        stream.onCompleted();
      } catch (RuntimeException e) {
        // Its end has not been heard of yet; the others are still to be told.
        log.info("a worker was not told of the restart: {}", e.toString());
      }
    }
    streams.clear();
    size = 0;
  }

  int size() {
    return size;
  }
}
