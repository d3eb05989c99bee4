package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.connection.Time;
import dev.baton.client.output.JobJson;
import dev.baton.client.output.Units;
import dev.baton.v1.JobEvent;
import dev.baton.v1.JobRequest;
import dev.baton.v1.JobServiceGrpc.JobServiceBlockingStub;
import dev.baton.v1.JobState;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.Iterator;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** Waits for a job's end. */
final class JobEnd {
  private JobState state = JobState.JOB_STATE_UNSPECIFIED;
  private String message = "";

  /**
   * Waits until the job has ended.
   *
   * @throws CommandException with the code of its end where that is not success, or where the time
   *     is over
   */
  void await(Connection connection, String jobId, @Nullable Duration timeout, Time time)
      throws InterruptedException {
    if (timeout == null) {
      connection.follow(() -> open(connection.jobs(), jobId), this::see, this::hasEnded);
    } else {
      long giveUpAt = time.nanos() + timeout.toNanos();
      try {
        connection.follow(
            () ->
                open(
                    connection
                        .jobs()
                        .withDeadlineAfter(giveUpAt - time.nanos(), TimeUnit.NANOSECONDS),
                    jobId),
            this::see,
            this::hasEnded,
            giveUpAt);
      } catch (StatusRuntimeException e) {
        if (e.getStatus().getCode() != Code.DEADLINE_EXCEEDED) {
          throw e;
        }
        throw new CommandException(
            ExitCodes.TIMED_OUT,
            "job "
                + jobId
                + " has not ended after "
                + Units.duration(timeout.toMillis() / 1000.0)
                + "; it is "
                + (state == JobState.JOB_STATE_UNSPECIFIED ? "unknown" : JobJson.state(state)));
      }
    }
    if (state != JobState.JOB_STATE_SUCCEEDED) {
      throw new CommandException(
          ExitCodes.of(state),
          "job "
              + jobId
              + " is "
              + JobJson.state(state)
              + (message.isEmpty() ? "" : ": " + message));
    }
  }

  private static Iterator<JobEvent> open(JobServiceBlockingStub jobs, String jobId) {
    return jobs.watchJob(JobRequest.newBuilder().setJobId(jobId).build());
  }

  private boolean hasEnded() {
    return ExitCodes.hasEnded(state);
  }

  private void see(JobEvent event) {
    state = event.getState();
    if (!event.getMessage().isEmpty()) {
      message = event.getMessage();
    }
  }
}
