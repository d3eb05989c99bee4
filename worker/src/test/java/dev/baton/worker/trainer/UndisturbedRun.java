package dev.baton.worker.trainer;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.MetricPoint;
import java.nio.file.Path;
import java.util.List;

/**
 * What a run with the fake engine comes to where nothing disturbs it: the measure of all others.
 *
 * @param points each once, in order
 */
record UndisturbedRun(List<MetricPoint> points, String weights) {

  static UndisturbedRun of(Path dir, FakeData data) throws Exception {
    try (RecordedRun run = new RecordedRun(dir, data, null, RecordedRun.Hook.NOTHING)) {
      assertThat(run.train()).isEqualTo(TrainingRun.End.FINISHED);
      return new UndisturbedRun(run.run.points(), run.weights());
    }
  }

  /** Another has come to the same, with these points in all. */
  void assertSame(RecordedRun run, List<MetricPoint> points) throws Exception {
    assertThat(run.weights()).isEqualTo(weights);
    assertSamePoints(points);
  }

  /** Every point once, in order; values to the bit but for those that tell of time. */
  void assertSamePoints(List<MetricPoint> points) {
    assertThat(timeless(points)).isEqualTo(timeless(this.points));
  }

  /** The points, of which those that tell of time have no value. */
  static List<MetricPoint> timeless(List<MetricPoint> points) {
    return points.stream()
        .map(
            point ->
                switch (point.getSeries()) {
                  case "train/samples_per_second", "train/data_wait", "epoch/seconds" ->
                      point.toBuilder().setValue(0).build();
                  default -> point;
                })
        .toList();
  }
}
