package dev.baton.worker.trainer;

import dev.baton.worker.trainer.Engine.Totals;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * An epoch, ended.
 *
 * @param epoch from 1
 * @param step its last
 * @param train sums over its training steps
 * @param eval sums over the evaluation at its end; null where the job has none
 * @param evalByClass of that evaluation, by class index; empty for MSE
 * @param seconds it took, over all attempts and with its evaluation
 */
public record EpochSummary(
    int epoch,
    long step,
    Totals train,
    @Nullable Totals eval,
    List<ClassCount> evalByClass,
    double seconds) {

  /** Samples of a class: how many were classified right, how many there were. */
  public record ClassCount(double correct, double seen) {}

  public EpochSummary {
    evalByClass = List.copyOf(evalByClass);
  }
}
