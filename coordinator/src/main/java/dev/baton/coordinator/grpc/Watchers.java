package dev.baton.coordinator.grpc;

import dev.baton.v1.JobEvent;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Who watches which job. On the core's thread only.
 *
 * <p>A reader that is too slow gets no steps until it has caught up, but everything else. Should
 * even that pile up, it is cut off, to ask again.
 */
final class Watchers {
  private static final int MAX_BEHIND = 10_000;

  private static final class Watcher {
    final ServerCallStreamObserver<JobEvent> stream;
    int behind;

    Watcher(ServerCallStreamObserver<JobEvent> stream) {
      this.stream = stream;
    }

    /** False once the stream is over. */
    boolean offer(JobEvent event, boolean droppable) {
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
                .withDescription("the reader is too slow; watch the job again")
                .asRuntimeException());
        return false;
      }
      stream.onNext(event);
      return true;
    }
  }

  private final Map<String, List<Watcher>> byJob = new HashMap<>();

  /** From now on the stream gets what happens to the job. */
  void add(String jobId, ServerCallStreamObserver<JobEvent> stream) {
    byJob.computeIfAbsent(jobId, id -> new ArrayList<>()).add(new Watcher(stream));
  }

  void remove(String jobId, ServerCallStreamObserver<JobEvent> stream) {
    byJob.computeIfPresent(
        jobId,
        (id, watchers) -> {
          watchers.removeIf(watcher -> watcher.stream == stream);
          return watchers.isEmpty() ? null : watchers;
        });
  }

  void tell(String jobId, JobEvent event) {
    byJob.computeIfPresent(
        jobId,
        (id, watchers) -> {
          boolean step = event.getEvent().equals("step");
          watchers.removeIf(watcher -> !watcher.offer(event, step));
          return watchers.isEmpty() ? null : watchers;
        });
  }

  /** The job has ended, and with it the watching. */
  void end(String jobId) {
    List<Watcher> watchers = byJob.remove(jobId);
    if (watchers != null) {
      for (Watcher watcher : watchers) {
        if (!watcher.stream.isCancelled()) {
          watcher.stream.onCompleted();
        }
      }
    }
  }

  /** Ends every stream with this status. */
  void closeAll(Status status) {
    for (List<Watcher> watchers : byJob.values()) {
      for (Watcher watcher : watchers) {
        if (!watcher.stream.isCancelled()) {
          watcher.stream.onError(status.asRuntimeException());
        }
      }
    }
    byJob.clear();
  }
}
