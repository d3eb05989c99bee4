package dev.baton.coordinator.grpc;

import dev.baton.v1.Event;
import dev.baton.v1.JobEvent;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/**
 * What happened lately to jobs and workers, and who follows it. In memory alone: the database keeps
 * what counts (attempts, checkpoints, ends). On the core's thread only.
 */
final class EventLog {
  private static final int KEPT = 1_000;

  /** A follower; of one job alone where jobId is not empty. */
  private record Follower(String jobId, EventReader<Event> reader) {
    boolean wants(Event event) {
      return jobId.isEmpty() || jobId.equals(event.getJobId());
    }
  }

  // Numbers begin anew with each start of the coordinator.
  private final String start = UUID.randomUUID() + "/";
  private final Deque<Event> events = new ArrayDeque<>();
  private long last;
  private final Map<String, Long> steps = new HashMap<>();
  private final List<Follower> followers = new ArrayList<>();

  /** Something happened to a job. Its progress is only taken note of. */
  void tell(String jobId, JobEvent happened) {
    if (happened.hasProgress()) {
      steps.put(jobId, happened.getProgress().getStep());
      return;
    }
    Event.Builder event =
        Event.newBuilder()
            .setTimeMs(happened.getTimeMs())
            .setJobId(jobId)
            .setState(happened.getState())
            .setEvent(happened.getEvent())
            .setMessage(happened.getMessage())
            .addAllWorkers(happened.getWorkersList());
    Long step = steps.get(jobId);
    if (step != null) {
      event.setStep(step);
    }
    add(event);
  }

  /** Something happened to a worker. */
  void tellOfWorker(String name, String what, String message, long nowMs) {
    add(Event.newBuilder().setTimeMs(nowMs).setEvent(what).setMessage(message).addWorkers(name));
  }

  /** The coordinator has started. */
  void started(long nowMs) {
    add(Event.newBuilder().setTimeMs(nowMs).setEvent("coordinator_started"));
  }

  private void add(Event.Builder happened) {
    Event event = happened.setId(start + ++last).build();
    if (events.size() == KEPT) {
      events.removeFirst();
    }
    events.addLast(event);
    followers.removeIf(follower -> follower.wants(event) && !follower.reader().offer(event, false));
  }

  /**
   * Sends what is known.
   *
   * @param jobId of this job alone; empty: of all, and of workers
   * @param after the id of the last event that the reader has seen; empty: none
   * @param follow whether the stream then gets what comes, or is completed
   */
  void read(String jobId, String after, boolean follow, ServerCallStreamObserver<Event> stream) {
    var follower = new Follower(jobId, new EventReader<>(stream));
    long seen = number(after);
    for (Event event : events) {
      if (number(event.getId()) > seen
          && follower.wants(event)
          && !follower.reader().offer(event, false)) {
        return;
      }
    }
    if (follow) {
      followers.add(follower);
    } else {
      follower.reader().complete();
    }
  }

  private long number(String id) {
    String digits = id.startsWith(start) ? id.substring(start.length()) : "";
    return digits.matches("\\d{1,18}") ? Long.parseLong(digits) : 0;
  }

  void remove(ServerCallStreamObserver<Event> stream) {
    followers.removeIf(follower -> follower.reader().readsFrom(stream));
  }

  /** The job has ended: whoever follows it alone has heard all. */
  void end(String jobId) {
    steps.remove(jobId);
    followers.removeIf(
        follower -> {
          boolean itsOwn = follower.jobId().equals(jobId);
          if (itsOwn) {
            follower.reader().complete();
          }
          return itsOwn;
        });
  }

  /** Ends every stream with this status. */
  void closeAll(Status status) {
    followers.forEach(follower -> follower.reader().close(status));
    followers.clear();
  }
}
