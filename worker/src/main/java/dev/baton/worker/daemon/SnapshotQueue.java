package dev.baton.worker.daemon;

import dev.baton.v1.MetricPoint;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Snapshots that wait for their upload: at most one, the newest. The points of those that it
 * replaces go with it, in their order, so that none is lost. Pure; not thread-safe.
 */
final class SnapshotQueue {
  private @Nullable Snapshot waiting;
  // Of snapshots that were given up and have no successor yet.
  private final List<MetricPoint> carried = new ArrayList<>();

  /** Adds the newest one. Returns the one that it replaces, whose file nobody needs any more. */
  Optional<Snapshot> put(Snapshot newest) {
    Snapshot replaced = waiting;
    if (replaced != null) {
      carried.addAll(replaced.points());
    }
    waiting = newest;
    return Optional.ofNullable(replaced);
  }

  boolean isEmpty() {
    return waiting == null;
  }

  /** Takes the one that waits, with every point since the last commit. */
  Optional<Snapshot> take() {
    Snapshot taken = waiting;
    if (taken == null) {
      return Optional.empty();
    }
    List<MetricPoint> points = new ArrayList<>(carried);
    points.addAll(taken.points());
    carried.clear();
    waiting = null;
    return Optional.of(taken.withPoints(points));
  }

  /** A snapshot that was taken, not committed, and is given up: its points go with the next. */
  void giveUp(Snapshot taken) {
    carried.addAll(0, taken.points());
  }

  /** Every point that was not committed, for the end of the attempt. */
  List<MetricPoint> takePoints() {
    return take()
        .map(Snapshot::points)
        .orElseGet(
            () -> {
              List<MetricPoint> points = List.copyOf(carried);
              carried.clear();
              return points;
            });
  }
}
