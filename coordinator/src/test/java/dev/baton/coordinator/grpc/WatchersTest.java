package dev.baton.coordinator.grpc;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.JobEvent;
import io.grpc.Status;
import org.junit.jupiter.api.Test;

/** Readers that are quick, slow, and gone. */
final class WatchersTest {
  private final Watchers watchers = new Watchers();
  private final FakeReader<JobEvent> slow = new FakeReader<>();
  private final FakeReader<JobEvent> quick = new FakeReader<>();

  private static JobEvent step(long step) {
    return JobEvent.newBuilder().setEvent("step").setStep(step).build();
  }

  private static JobEvent message(int number) {
    return JobEvent.newBuilder().setEvent("message").setMessage("number " + number).build();
  }

  private void watch() {
    watchers.add("job", slow);
    watchers.add("job", quick);
  }

  @Test
  void aSlowReaderMissesStepsAndNothingElse() {
    watch();
    slow.ready = false;
    for (int i = 1; i <= 100_000; i++) {
      watchers.tell("job", step(i));
      if (i % 10_000 == 0) {
        watchers.tell("job", message(i));
      }
    }
    assertThat(quick.got).hasSize(100_010);
    assertThat(slow.got).hasSize(10).allMatch(e -> e.getEvent().equals("message"));
    slow.ready = true;
    watchers.tell("job", step(100_001));
    assertThat(slow.got.get(10).getStep()).isEqualTo(100_001);
    assertThat(slow.error).isNull();
  }

  @Test
  void aReaderThatTakesNothingAtAllIsCutOffAndTheOthersAreNot() {
    watch();
    slow.ready = false;
    for (int i = 0; i < 30_000; i++) {
      watchers.tell("job", message(i));
    }
    assertThat(slow.got).as("what waits for it in memory").hasSize(10_000);
    assertThat(slow.error)
        .extracting(Status::getCode, Status::getDescription)
        .containsExactly(Status.Code.UNAVAILABLE, "the reader is too slow; ask again");
    assertThat(quick.got).hasSize(30_000);
    assertThat(quick.error).isNull();
    watchers.end("job");
    assertThat(quick.completed).isTrue();
    assertThat(slow.completed).as("ended once").isFalse();
  }

  @Test
  void whoCatchesUpBeginsAnew() {
    watch();
    for (int round = 0; round < 3; round++) {
      slow.ready = false;
      for (int i = 0; i < 9_000; i++) {
        watchers.tell("job", message(i));
      }
      slow.ready = true;
      watchers.tell("job", message(0));
    }
    assertThat(slow.error).isNull();
    assertThat(slow.got).hasSize(27_003);
  }

  @Test
  void whoIsGoneHearsNothingMore() {
    watch();
    slow.cancelled = true;
    watchers.tell("job", message(1));
    watchers.tell("other", message(2));
    watchers.end("job");
    assertThat(slow.got).isEmpty();
    assertThat(slow.completed).isFalse();
    assertThat(quick.got).containsExactly(message(1));
    assertThat(quick.completed).isTrue();
  }
}
