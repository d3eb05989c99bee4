package dev.baton.coordinator;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.Event;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.JobServiceGrpc;
import dev.baton.v1.JobState;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Result;
import dev.baton.v1.SubmitJobRequest;
import dev.baton.v1.WatchEventsRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The events of a job and its worker, over a real connection. */
final class EventsTest {
  @TempDir Path temp;

  private static WatchEventsRequest of(String job, boolean follow) {
    return WatchEventsRequest.newBuilder().setJobId(job).setFollow(follow).build();
  }

  private static List<Event> drain(Iterator<Event> stream) {
    List<Event> events = new ArrayList<>();
    stream.forEachRemaining(events::add);
    return events;
  }

  @Test
  void aJobsLifeIsToldAsItHappensAndAfterwards() throws Exception {
    try (Running running = new Running(temp.resolve("data"))) {
      var user = JobServiceGrpc.newBlockingStub(running.as("user"));
      assertThat(drain(user.watchEvents(of("", false))))
          .extracting(Event::getEvent)
          .containsExactly("coordinator_started");
      String job =
          user.submitJob(
                  SubmitJobRequest.newBuilder()
                      .setRequestId("request")
                      .setSpec(CoordinatorTest.spec())
                      .build())
              .getJobId();
      Iterator<Event> live = user.watchEvents(of(job, true));
      assertThat(live.next().getMessage()).isEqualTo("submitted");

      FakeWorker worker = FakeWorker.connect(running.as("worker"), "one");
      worker.await(CoordinatorMessage::hasWelcome);
      LeaseRef lease = worker.offer().getLease();
      var begun =
          running.workers().beginAttempt(BeginAttemptRequest.newBuilder().setLease(lease).build());
      assertThat(begun).isNotNull();
      var finished =
          running
              .workers()
              .finishAttempt(
                  FinishAttemptRequest.newBuilder()
                      .setLease(lease)
                      .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED)
                      .setLastStep(3)
                      .setResult(Result.newBuilder().setWeightsSha256("abc"))
                      .build());
      assertThat(finished).isNotNull();
      List<Event> rest = drain(live);
      assertThat(rest).extracting(Event::getJobId).containsOnly(job);
      assertThat(rest).extracting(Event::getEvent).contains("attempt_started", "attempt_ended");
      assertThat(rest.get(rest.size() - 1).getState()).isEqualTo(JobState.JOB_STATE_SUCCEEDED);

      List<Event> all = drain(user.watchEvents(of("", false)));
      assertThat(all)
          .extracting(Event::getEvent)
          .startsWith("coordinator_started", "state", "worker_connected")
          .contains("attempt_ended");
      assertThat(all.get(2).getWorkersList()).containsExactly("one");
      assertThat(drain(user.watchEvents(of(job, true))))
          .as("a job that has ended is not waited for")
          .containsExactlyElementsOf(
              all.stream().filter(event -> event.getJobId().equals(job)).toList());
      assertThatThrownBy(() -> drain(user.watchEvents(of("nobody", true))))
          .isInstanceOfSatisfying(
              StatusRuntimeException.class,
              e -> assertThat(e.getStatus().getCode()).isEqualTo(Status.Code.NOT_FOUND));
    }
  }
}
