package dev.baton.worker.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.MetricPoint;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

class SnapshotQueueTest {
  private final SnapshotQueue queue = new SnapshotQueue();

  @Test
  void theNewestReplacesTheOneThatWaitsAndTakesItsPoints() {
    assertThat(queue.put(snapshot(1, 10))).isEmpty();
    assertThat(queue.put(snapshot(11, 20)).map(Snapshot::step)).contains(10L);
    Snapshot taken = queue.take().orElseThrow();
    assertThat(taken.step()).isEqualTo(20);
    assertThat(steps(taken.points())).isEqualTo(range(1, 20));
    assertThat(queue.isEmpty()).isTrue();
    assertThat(queue.take()).isEmpty();
  }

  @Test
  void whatWasGivenUpGivesItsPointsToTheNextInOrder() {
    queue.put(snapshot(1, 10));
    Snapshot first = queue.take().orElseThrow();
    queue.put(snapshot(11, 20));
    queue.put(snapshot(21, 30));
    queue.giveUp(first);
    assertThat(steps(queue.take().orElseThrow().points())).isEqualTo(range(1, 30));
  }

  @Test
  void theEndGetsEveryPointOnce() {
    queue.put(snapshot(1, 10));
    queue.giveUp(queue.take().orElseThrow());
    assertThat(steps(queue.takePoints())).isEqualTo(range(1, 10));
    assertThat(queue.takePoints()).isEmpty();
    queue.put(snapshot(11, 20));
    assertThat(steps(queue.takePoints())).isEqualTo(range(11, 20));
    assertThat(queue.takePoints()).isEmpty();
  }

  private static Snapshot snapshot(long from, long to) {
    return new Snapshot(
        to,
        Path.of("snapshot-" + to),
        LongStream.rangeClosed(from, to)
            .mapToObj(s -> MetricPoint.newBuilder().setStep(s).build())
            .toList(),
        false);
  }

  private static List<Long> steps(List<MetricPoint> points) {
    return points.stream().map(MetricPoint::getStep).toList();
  }

  private static List<Long> range(long from, long to) {
    return LongStream.rangeClosed(from, to).boxed().toList();
  }
}
