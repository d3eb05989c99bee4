package dev.baton.worker.daemon;

import dev.baton.v1.MetricPoint;
import java.nio.file.Path;
import java.util.List;

/**
 * A state that the trainer has written to a file.
 *
 * @param step completed steps
 * @param points that go with its commit
 * @param stopped whether training stopped there, to be handed over
 */
record Snapshot(long step, Path file, List<MetricPoint> points, boolean stopped) {
  Snapshot {
    points = List.copyOf(points);
  }

  Snapshot withPoints(List<MetricPoint> other) {
    return new Snapshot(step, file, other, stopped);
  }
}
