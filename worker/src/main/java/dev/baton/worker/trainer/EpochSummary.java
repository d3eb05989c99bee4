package dev.baton.worker.trainer;

import dev.baton.v1.EpochEnd;
import dev.baton.v1.RunTotals;
import dev.baton.worker.trainer.Engine.Totals;
import java.util.ArrayList;
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

  /** As replicas send it to each other. */
  EpochEnd toMessage() {
    EpochEnd.Builder message =
        EpochEnd.newBuilder()
            .setEpoch(epoch)
            .setStep(step)
            .setTrain(toMessage(train))
            .setSeconds(seconds);
    if (eval != null) {
      message.setEval(toMessage(eval));
    }
    for (ClassCount count : evalByClass) {
      message.addClassCorrect(count.correct()).addClassSeen(count.seen());
    }
    return message.build();
  }

  /** From {@link #toMessage()}. */
  static EpochSummary of(EpochEnd message) {
    List<ClassCount> byClass = new ArrayList<>();
    for (int i = 0; i < message.getClassSeenCount(); i++) {
      byClass.add(new ClassCount(message.getClassCorrect(i), message.getClassSeen(i)));
    }
    return new EpochSummary(
        message.getEpoch(),
        message.getStep(),
        totals(message.getTrain()),
        message.hasEval() ? totals(message.getEval()) : null,
        byClass,
        message.getSeconds());
  }

  private static RunTotals toMessage(Totals totals) {
    return RunTotals.newBuilder()
        .setLoss(totals.loss())
        .setCorrect(totals.correct())
        .setSamples(totals.samples())
        .build();
  }

  private static Totals totals(RunTotals message) {
    return new Totals(message.getLoss(), message.getCorrect(), message.getSamples());
  }
}
