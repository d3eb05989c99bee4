package dev.baton.worker.trainer;

import dev.baton.v1.MetricPoint;
import java.util.ArrayList;
import java.util.List;

/**
 * The metric points of a run that no commit is known to have taken, in order. Rank 0 hands them out
 * with its snapshots; every other rank of a gang keeps the same ones, so that it can be rank 0
 * next.
 */
final class PointLog {
  /** Of series whose points are made right after a step, before anything can be asked of a run. */
  static final String AFTER_STEP = "train/";

  private final List<MetricPoint> kept = new ArrayList<>();
  private int handedOut;

  void add(MetricPoint point) {
    kept.add(point);
  }

  /** How many no snapshot has taken. */
  int fresh() {
    return kept.size() - handedOut;
  }

  /** Those that no snapshot has taken. */
  List<MetricPoint> peek() {
    return List.copyOf(kept.subList(handedOut, kept.size()));
  }

  /** The same, for a snapshot. */
  List<MetricPoint> take() {
    List<MetricPoint> taken = peek();
    handedOut = kept.size();
    return taken;
  }

  /** All. */
  List<MetricPoint> all() {
    return List.copyOf(kept);
  }

  /**
   * The snapshot of that step is committed. Of the step's own points it may have been taken before
   * those of an epoch's end: these are kept until the next one; committed again, they change
   * nothing.
   */
  void committed(long step) {
    int gone = 0;
    while (gone < kept.size() && isIn(kept.get(gone), step)) {
      gone++;
    }
    kept.subList(0, gone).clear();
    handedOut = Math.max(0, handedOut - gone);
  }

  private static boolean isIn(MetricPoint point, long step) {
    return point.getStep() < step
        || (point.getStep() == step && point.getSeries().startsWith(AFTER_STEP));
  }

  /** What snapshots have taken may be lost: the next one takes all that is kept. */
  void restart() {
    handedOut = 0;
  }

  /** Takes over another replica's. */
  void replace(List<MetricPoint> points) {
    kept.clear();
    kept.addAll(points);
    handedOut = 0;
  }
}
