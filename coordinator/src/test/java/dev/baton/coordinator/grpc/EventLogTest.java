package dev.baton.coordinator.grpc;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.Event;
import dev.baton.v1.JobEvent;
import dev.baton.v1.JobState;
import dev.baton.v1.Progress;
import io.grpc.Status;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What is kept, who hears of it, and where it ends. */
final class EventLogTest {
  private final EventLog log = new EventLog();

  private static JobEvent message(String text) {
    return JobEvent.newBuilder()
        .setTimeMs(7)
        .setState(JobState.JOB_STATE_RUNNING)
        .setEvent("message")
        .setMessage(text)
        .addWorkers("w")
        .build();
  }

  private static JobEvent step(long step) {
    return JobEvent.newBuilder()
        .setEvent("step")
        .setStep(step)
        .setProgress(Progress.newBuilder().setStep(step))
        .build();
  }

  private FakeReader<Event> read(String job, String after, boolean follow) {
    var reader = new FakeReader<Event>();
    log.read(job, after, follow, reader);
    return reader;
  }

  private static List<String> messages(FakeReader<Event> reader) {
    return reader.got.stream().map(Event::getMessage).toList();
  }

  @Test
  void theLastThousandAreKept() {
    for (int i = 1; i <= 1_500; i++) {
      log.tell("job", message("number " + i));
    }
    FakeReader<Event> reader = read("", "", false);
    assertThat(reader.completed).isTrue();
    assertThat(reader.got).hasSize(1_000);
    assertThat(messages(reader)).startsWith("number 501").endsWith("number 1500");
    assertThat(reader.got).extracting(Event::getId).doesNotHaveDuplicates();
  }

  @Test
  void stepsAreLeftOutAndTheLastOneStandsOnWhatFollows() {
    log.tell("job", message("before"));
    log.tell("job", step(41));
    log.tell("job", step(42));
    log.tell("other", message("elsewhere"));
    log.tell("job", message("after"));
    List<Event> got = read("job", "", false).got;
    assertThat(got).extracting(Event::getMessage).containsExactly("before", "after");
    assertThat(got.get(0).hasStep()).isFalse();
    assertThat(got.get(1).getStep()).isEqualTo(42);
    assertThat(got.get(1))
        .isEqualTo(
            Event.newBuilder()
                .setId(got.get(1).getId())
                .setTimeMs(7)
                .setJobId("job")
                .setState(JobState.JOB_STATE_RUNNING)
                .setEvent("message")
                .setMessage("after")
                .addWorkers("w")
                .setStep(42)
                .build());
  }

  @Test
  void whoComesBackGetsWhatItMissed() {
    log.started(1);
    log.tell("job", message("seen"));
    List<Event> first = read("", "", false).got;
    assertThat(first).extracting(Event::getEvent).containsExactly("coordinator_started", "message");
    log.tellOfWorker("w", "worker_connected", "", 9);
    FakeReader<Event> back = read("", first.get(1).getId(), true);
    log.tell("job", message("live"));
    assertThat(back.got).extracting(Event::getEvent).containsExactly("worker_connected", "message");
    assertThat(back.got.get(0).getWorkersList()).containsExactly("w");
    assertThat(back.completed).isFalse();
    assertThat(read("", "of another start/1", false).got).hasSize(4);
  }

  @Test
  void whoFollowsAJobHearsOfItAloneUntilItsEnd() {
    FakeReader<Event> one = read("one", "", true);
    FakeReader<Event> all = read("", "", true);
    log.tell("one", message("a"));
    log.tell("two", message("b"));
    log.tellOfWorker("w", "worker_connected", "", 9);
    log.end("one");
    assertThat(messages(one)).containsExactly("a");
    assertThat(one.completed).isTrue();
    assertThat(all.got).hasSize(3);
    assertThat(all.completed).isFalse();
    log.closeAll(Status.UNAVAILABLE);
    assertThat(all.error).isNotNull();
    log.tell("two", message("c"));
    assertThat(all.got).hasSize(3);
  }

  @Test
  void whoReadsNothingIsCutOffAndWhoIsGoneIsForgotten() {
    FakeReader<Event> slow = read("", "", true);
    FakeReader<Event> gone = read("", "", true);
    FakeReader<Event> quick = read("", "", true);
    slow.ready = false;
    log.remove(gone);
    for (int i = 0; i < 30_000; i++) {
      log.tell("job", message("x"));
    }
    assertThat(slow.got).hasSize(10_000);
    assertThat(slow.error).isNotNull();
    assertThat(gone.got).isEmpty();
    assertThat(quick.got).hasSize(30_000);
  }
}
