package dev.baton.coordinator.grpc;

import dev.baton.v1.JobEvent;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Who watches which job. On the core's thread only. To a slow reader steps may be dropped. */
final class Watchers {
  private final Map<String, List<EventReader<JobEvent>>> byJob = new HashMap<>();

  /** From now on the stream gets what happens to the job. */
  void add(String jobId, ServerCallStreamObserver<JobEvent> stream) {
    byJob.computeIfAbsent(jobId, id -> new ArrayList<>()).add(new EventReader<>(stream));
  }

  void remove(String jobId, ServerCallStreamObserver<JobEvent> stream) {
    byJob.computeIfPresent(
        jobId,
        (id, watchers) -> {
          watchers.removeIf(watcher -> watcher.readsFrom(stream));
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
    List<EventReader<JobEvent>> watchers = byJob.remove(jobId);
    if (watchers != null) {
      watchers.forEach(EventReader::complete);
    }
  }

  /** Ends every stream with this status. */
  void closeAll(Status status) {
    byJob.values().forEach(watchers -> watchers.forEach(watcher -> watcher.close(status)));
    byJob.clear();
  }
}
