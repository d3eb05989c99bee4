package dev.baton.coordinator.grpc;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/** Who follows which job's log. On the core's thread only. */
final class LogFollowers {
  private final Map<String, Set<LogStream>> byJob = new HashMap<>();

  /** From now on the stream is woken when the log grows. */
  void add(String jobId, LogStream stream) {
    byJob.computeIfAbsent(jobId, id -> new HashSet<>()).add(stream);
  }

  void remove(String jobId, LogStream stream) {
    byJob.computeIfPresent(
        jobId,
        (id, streams) -> {
          streams.remove(stream);
          return streams.isEmpty() ? null : streams;
        });
  }

  void grew(String jobId) {
    byJob.getOrDefault(jobId, Set.of()).forEach(LogStream::wake);
  }

  /** The job has ended: what is in its log now is all. */
  void end(String jobId) {
    Set<LogStream> streams = byJob.remove(jobId);
    if (streams != null) {
      streams.forEach(LogStream::finish);
    }
  }
}
