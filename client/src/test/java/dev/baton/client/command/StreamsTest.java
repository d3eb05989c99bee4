package dev.baton.client.command;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.google.protobuf.ByteString;
import dev.baton.client.output.Terminal.Screen;
import dev.baton.client.testing.Harness;
import dev.baton.client.testing.Harness.Outcome;
import dev.baton.client.testing.ManualTime;
import dev.baton.v1.Event;
import dev.baton.v1.JobEvent;
import dev.baton.v1.JobState;
import dev.baton.v1.LogChunk;
import dev.baton.v1.Progress;
import dev.baton.v1.WatchEventsRequest;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class StreamsTest {
  private static final JobState RUNNING = JobState.JOB_STATE_RUNNING;
  private static final JobState SUCCEEDED = JobState.JOB_STATE_SUCCEEDED;

  @TempDir Path dir;
  private Harness baton;

  @BeforeEach
  void start() {
    baton = new Harness(dir);
  }

  @AfterEach
  void stop() {
    baton.close();
  }

  private static JobEvent.Builder event(String event, JobState state) {
    JobEvent.Builder builder =
        JobEvent.newBuilder().setTimeMs(ManualTime.START_MILLIS).setState(state).setEvent(event);
    return state == RUNNING ? builder.addWorkers("w1") : builder;
  }

  private static JobEvent state(JobState state) {
    return event("state", state).build();
  }

  private static JobEvent step(long step) {
    return event("step", RUNNING)
        .setStep(step)
        .setLoss(1.0 / step)
        .setProgress(
            Progress.newBuilder()
                .setStep(step)
                .setTotalSteps(10)
                .setEpoch(1)
                .setLoss(1.0 / step)
                .setSamplesPerSecond(99.6)
                .setEtaSeconds(75))
        .build();
  }

  private static Consumer<StreamObserver<JobEvent>> events(JobEvent... events) {
    return to -> {
      for (JobEvent event : events) {
        to.onNext(event);
      }
      to.onCompleted();
    };
  }

  /** Sends these, and then the coordinator is gone. */
  private <T> Consumer<StreamObserver<T>> thenStop(List<T> events) {
    return to -> {
      events.forEach(to::onNext);
      baton.coordinator.stop();
      to.onError(Status.UNAVAILABLE.asRuntimeException());
    };
  }

  private void startAgainAfter(int sleeps) {
    AtomicInteger count = new AtomicInteger();
    baton.time.whileAsleep(
        () -> {
          if (count.incrementAndGet() == sleeps && baton.coordinator.isStopped()) {
            baton.coordinator.start();
          }
        });
  }

  @Test
  void watchAsJson() {
    baton.coordinator.watches.add(
        events(
            state(JobState.JOB_STATE_QUEUED),
            state(RUNNING),
            step(1),
            event("checkpoint", RUNNING).setStep(1).setMessage("step 1").build(),
            event("state", SUCCEEDED).setLoss(Double.NaN).build()));
    Outcome outcome = baton.run("watch", "j1", "-o", "json");
    assertThat(outcome.code()).isZero();
    assertThat(outcome.err()).isEmpty();
    assertThat(outcome.out())
        .isEqualTo(
            """
            {"time": 1767225600000, "state": "QUEUED", "loss": null, "workers": [], "event": "state"}
            {"time": 1767225600000, "state": "RUNNING", "loss": null, "workers": ["w1"], "event": "state"}
            {"time": 1767225600000, "state": "RUNNING", "step": 1, "loss": 1.0, "workers": ["w1"], "event": "step"}
            {"time": 1767225600000, "state": "RUNNING", "loss": null, "workers": ["w1"], "event": "checkpoint", "message": "step 1"}
            {"time": 1767225600000, "state": "SUCCEEDED", "loss": null, "workers": [], "event": "state"}
            """);
    assertThat(outcome.jsonLines()).hasSize(5);
  }

  @ParameterizedTest
  @CsvSource({
    "JOB_STATE_SUCCEEDED,0,''",
    "JOB_STATE_FAILED,1,'error: job j1 is FAILED: loss is NaN\n'",
    "JOB_STATE_CANCELLED,3,'error: job j1 is CANCELLED: loss is NaN\n'"
  })
  void theEndIsTheExitCode(JobState end, int code, String err) throws IOException {
    baton.coordinator.watches.add(
        events(state(RUNNING), event("state", end).setMessage("loss is NaN").build()));
    assertThat(baton.run("watch", "j1").code()).isEqualTo(code);
    Outcome waited = baton.run("wait", "j1");
    assertThat(waited).isEqualTo(new Outcome(code, code == 0 ? "SUCCEEDED\n" : "", err));
    Path file = Files.writeString(dir.resolve("a.yaml"), "name: a");
    Outcome submitted = baton.run("submit", file.toString(), "--wait");
    assertThat(submitted).isEqualTo(new Outcome(code, "job-1\n", err.replace("j1", "job-1")));
  }

  @Test
  void watchInAPipeLeavesOutProgress() {
    baton.coordinator.watches.add(
        events(
            state(RUNNING),
            step(1),
            event("worker_lost", RUNNING).setMessage("w1: stream broke").build(),
            state(SUCCEEDED)));
    Outcome outcome = baton.run("watch", "j1");
    assertThat(outcome.out())
        .isEqualTo(
            """
            2026-01-01 00:00:00Z  RUNNING  on w1
            2026-01-01 00:00:00Z  worker lost  on w1: w1: stream broke
            2026-01-01 00:00:00Z  SUCCEEDED
            """);
    assertThat(outcome.err()).isEmpty();
  }

  @Test
  void nothingOfOthersSteersTheTerminal() {
    baton.coordinator.watches.add(
        events(event("worker_lost", RUNNING).setMessage("\u001b[2J\rw").build(), state(SUCCEEDED)));
    assertThat(baton.run("watch", "j1").out()).contains("worker lost  on w1: ?[2J?w\n");
    baton.coordinator.events.add(
        to -> {
          to.onNext(event(1, "worker_connected").setMessage("\u001b[2J\rw").build());
          to.onCompleted();
        });
    assertThat(baton.run("events").out()).contains("worker connected: ?[2J?w\n");
  }

  @Test
  void watchOnATerminalShowsOneLineThatChanges() {
    baton.screen = new Screen(true, true, 200);
    baton.coordinator.watches.add(events(state(RUNNING), step(4), step(5), state(SUCCEEDED)));
    Outcome outcome = baton.run("watch", "j1");
    assertThat(outcome.err())
        .isEqualTo(
            "\r[#########               ]  40 %  step 4/10  epoch 1  loss 0.2500"
                + "  100 samples/s  ETA 1m15s  on w1\u001b[K"
                + "\r[############            ]  50 %  step 5/10  epoch 1  loss 0.2000"
                + "  100 samples/s  ETA 1m15s  on w1\u001b[K"
                + "\r\u001b[K");
    assertThat(outcome.out()).hasLineCount(2);
  }

  @Test
  void watchSurvivesARestartWithoutDoublesOrGaps() {
    baton.coordinator.watches.add(thenStop(List.of(state(RUNNING), step(1), step(2))));
    baton.coordinator.watches.add(
        events(state(RUNNING), step(2), step(3), step(3), state(SUCCEEDED)));
    startAgainAfter(30);
    Outcome outcome = baton.run("watch", "j1", "-o", "json");
    assertThat(outcome.code()).isZero();
    assertThat(outcome.jsonLines().stream().map(StreamsTest::brief))
        .containsExactly(
            "state RUNNING", "step 1", "step 2", "step 3", "step 3", "state SUCCEEDED");
    assertThat(outcome.err()).isEqualTo("lost the coordinator; trying again for 60 s\n");
    assertThat(baton.time.passed()).isBetween(Duration.ofSeconds(5), Duration.ofSeconds(20));
  }

  private static String brief(JsonNode line) {
    return line.get("event").asText()
        + " "
        + (line.has("step") ? line.get("step") : line.get("state")).asText();
  }

  @Test
  void watchTellsAChangeThatTheRestartHid() {
    baton.coordinator.watches.add(thenStop(List.of(state(RUNNING), step(2))));
    baton.coordinator.watches.add(
        events(
            state(JobState.JOB_STATE_QUEUED),
            state(RUNNING),
            event("step", RUNNING).setStep(1).build(),
            state(SUCCEEDED)));
    startAgainAfter(1);
    assertThat(baton.run("watch", "j1", "-o", "json").jsonLines().stream().map(StreamsTest::brief))
        .containsExactly(
            "state RUNNING",
            "step 2",
            "state QUEUED",
            "state RUNNING",
            "step 1",
            "state SUCCEEDED");
  }

  @Test
  void aStreamThatEndsBeforeTheJobIsOpenedAgain() {
    baton.coordinator.watches.add(events(state(RUNNING)));
    baton.coordinator.watches.add(events(state(RUNNING), state(SUCCEEDED)));
    assertThat(baton.run("wait", "j1").code()).isZero();
  }

  @Test
  void anEndThatWasSeenStandsEvenIfTheStreamBreaksBehindIt() {
    baton.coordinator.watches.add(thenStop(List.of(state(SUCCEEDED))));
    assertThat(baton.run("watch", "j1").code()).isZero();
    assertThat(baton.time.passed()).isZero();
  }

  @ParameterizedTest
  @CsvSource({"watch", "wait", "logs -f"})
  void givesUpAfterSixtySeconds(String verb) {
    baton.coordinator.watches.add(thenStop(List.of(state(RUNNING))));
    baton.coordinator.logs.add(thenStop(List.of(chunk(0, "a"))));
    Outcome outcome = baton.run((verb + " j1").split(" "));
    assertThat(outcome.code()).isEqualTo(5);
    assertThat(outcome.err())
        .startsWith("lost the coordinator; trying again for 60 s\nerror: cannot reach")
        .hasLineCount(2);
    assertThat(baton.time.passed()).isBetween(Duration.ofSeconds(60), Duration.ofSeconds(62));
  }

  @Test
  void waitTimesOut() throws IOException {
    baton.coordinator.watches.add(to -> to.onNext(state(RUNNING)));
    Outcome outcome = baton.run("wait", "j1", "--timeout", "300ms");
    assertThat(outcome)
        .isEqualTo(new Outcome(4, "", "error: job j1 has not ended after 0s; it is RUNNING\n"));
    Path file = Files.writeString(dir.resolve("a.yaml"), "name: a");
    assertThat(baton.run("submit", file.toString(), "--wait", "--timeout", "100ms").code())
        .isEqualTo(4);
  }

  @Test
  void waitTimesOutWhileTheCoordinatorIsAway() {
    baton.coordinator.watches.add(thenStop(List.of(state(RUNNING))));
    assertThat(baton.run("wait", "j1", "--timeout", "20s").code()).isEqualTo(4);
    assertThat(baton.time.passed()).isBetween(Duration.ofSeconds(20), Duration.ofSeconds(22));
  }

  private static LogChunk chunk(long offset, String text) {
    return LogChunk.newBuilder()
        .setOffset(offset)
        .setData(ByteString.copyFrom(text, StandardCharsets.UTF_8))
        .build();
  }

  @Test
  void logsGoOnAtTheByteWhereTheyBroke() {
    byte[] text = "step 1\nstep \u00fc\n".getBytes(StandardCharsets.UTF_8);
    ByteString all = ByteString.copyFrom(text);
    LogChunk first = LogChunk.newBuilder().setData(all.substring(0, 13)).build();
    LogChunk rest = LogChunk.newBuilder().setOffset(10).setData(all.substring(10)).build();
    baton.coordinator.logs.add(thenStop(List.of(first)));
    baton.coordinator.logs.add(
        to -> {
          to.onNext(rest);
          to.onCompleted();
        });
    startAgainAfter(3);
    Outcome outcome = baton.run("logs", "-f", "j1");
    assertThat(outcome.out()).isEqualTo("step 1\nstep \u00fc\n");
    assertThat(baton.coordinator.logRequests.get(0).getFollow()).isTrue();
    assertThat(baton.coordinator.logRequests.get(0).getOffset()).isZero();
    assertThat(baton.coordinator.logRequests.get(1).getOffset()).isEqualTo(13);
    assertThat(outcome.code()).isZero();
  }

  @Test
  void logsSoFar() {
    baton.coordinator.logs.add(
        to -> {
          to.onNext(chunk(0, "a\n"));
          to.onNext(chunk(2, "b\n"));
          to.onCompleted();
        });
    assertThat(baton.run("logs", "j1")).isEqualTo(new Outcome(0, "a\nb\n", ""));
    assertThat(baton.coordinator.logRequests.get(0).getFollow()).isFalse();
  }

  private static Event.Builder event(int number, String what) {
    return Event.newBuilder()
        .setId("run/" + number)
        .setTimeMs(ManualTime.START_MILLIS + number)
        .setEvent(what);
  }

  @Test
  void eventsAreTextOrJson() {
    List<Event> events =
        List.of(
            event(1, "worker_connected").addWorkers("w1").setMessage("slots: 1, GPUs: 0").build(),
            event(2, "state")
                .setJobId("j1")
                .setState(JobState.JOB_STATE_QUEUED)
                .setMessage("submitted")
                .build(),
            event(3, "checkpoint")
                .setJobId("j1")
                .setState(RUNNING)
                .addWorkers("w1")
                .setStep(7)
                .build());
    Consumer<StreamObserver<Event>> all =
        to -> {
          events.forEach(to::onNext);
          to.onCompleted();
        };
    baton.coordinator.events.add(all);
    baton.coordinator.events.add(all);
    assertThat(baton.run("events"))
        .isEqualTo(
            new Outcome(
                0,
                """
                2026-01-01 00:00:00Z  worker connected w1: slots: 1, GPUs: 0
                2026-01-01 00:00:00Z  j1  QUEUED: submitted
                2026-01-01 00:00:00Z  j1  checkpoint  on w1  step 7
                """,
                ""));
    assertThat(baton.run("events", "-o", "json").out())
        .isEqualTo(
            """
            {"time": 1767225600001, "job": null, "event": "worker_connected", "state": null, "message": "slots: 1, GPUs: 0", "workers": ["w1"], "step": null}
            {"time": 1767225600002, "job": "j1", "event": "state", "state": "QUEUED", "message": "submitted", "workers": [], "step": null}
            {"time": 1767225600003, "job": "j1", "event": "checkpoint", "state": "RUNNING", "message": "", "workers": ["w1"], "step": 7}
            """);
    assertThat(baton.coordinator.eventRequests)
        .allSatisfy(request -> assertThat(request.getFollow()).isFalse());
  }

  @Test
  void followedEventsGoOnBehindTheLastOneAfterARestart() {
    baton.coordinator.jobs.put("j1", dev.baton.v1.Job.getDefaultInstance());
    baton.coordinator.events.add(
        thenStop(List.of(event(1, "message").setJobId("j1").setMessage("a").build())));
    baton.coordinator.events.add(
        to -> {
          to.onNext(event(2, "message").setJobId("j1").setMessage("b").build());
          to.onCompleted();
        });
    startAgainAfter(10);
    Outcome outcome = baton.run("events", "-f", "--job", "j1", "-o", "json");
    assertThat(outcome.code()).as(outcome.err()).isZero();
    assertThat(outcome.jsonLines())
        .extracting(l -> l.get("message").asText())
        .containsExactly("a", "b");
    assertThat(outcome.err()).contains("lost the coordinator");
    assertThat(baton.coordinator.eventRequests)
        .extracting(WatchEventsRequest::getAfter)
        .containsExactly("", "run/1");
    assertThat(baton.coordinator.eventRequests)
        .allSatisfy(request -> assertThat(request.getFollow()).isTrue())
        .allSatisfy(request -> assertThat(request.getJobId()).isEqualTo("j1"));
  }

  @Test
  void eventsOfAJobThatIsNotThere() {
    Outcome outcome = baton.run("events", "--job", "nobody");
    assertThat(outcome).isEqualTo(new Outcome(1, "", "error: job nobody does not exist\n"));
  }
}
