package dev.baton.worker.trainer;

import dev.baton.worker.checkpoint.RunState;
import dev.baton.worker.trainer.Engine.Totals;
import dev.baton.worker.trainer.EpochSummary.ClassCount;
import java.io.PrintStream;
import java.util.List;
import java.util.Locale;

/** The lines of a run that people read in its log. */
final class ConsoleLog implements TrainingListener {
  private final PrintStream out;
  private final long totalSteps;
  private final boolean classifies;

  ConsoleLog(PrintStream out, TrainingData data) {
    this.out = out;
    this.totalSteps = data.plan().totalSteps();
    this.classifies = data.format().classes() > 0;
  }

  void begun(RunState state, String kind) {
    if (state.step() == 0) {
      print("training %d steps on %s", totalSteps, kind);
      return;
    }
    print(
        "resumed from step %d of %d on %s%s",
        state.step(),
        totalSteps,
        kind,
        state.epochEndDue() ? "; the evaluation that was under way begins again" : "");
    if (!state.kind().equals(kind)) {
      print("the checkpoint was made on %s: bits may differ from here on", state.kind());
    }
  }

  @Override
  public void logged(long step, double loss, double samplesPerSecond, double dataWait) {
    print(
        "step %d/%d: loss %.6g, %.6g samples/s, %.1f %% waiting for data",
        step, totalSteps, loss, samplesPerSecond, 100 * dataWait);
  }

  @Override
  public void epochEnded(EpochSummary summary) {
    String eval = summary.eval() == null ? "" : "; eval " + lossAndAccuracy(summary.eval());
    print(
        "epoch %d (step %d): train %s%s; %.1f s",
        summary.epoch(), summary.step(), lossAndAccuracy(summary.train()), eval, summary.seconds());
  }

  void groupFormed(int rank, int size, long step) {
    print("replica %d of %d: group formed at step %d", rank + 1, size, step);
  }

  void groupBroken(String message) {
    print("group broken: %s", message);
  }

  void snapshotWritten(Snapshots.Written snapshot) {
    print(
        "checkpoint of step %d: %.1f MB, training stalled %.1f ms, written in %.1f ms",
        snapshot.state().step(),
        snapshot.bytes() / 1e6,
        snapshot.stallNanos() / 1e6,
        snapshot.writeNanos() / 1e6);
  }

  void finished(EpochSummary last, List<String> classNames, String weightsSha256) {
    for (int i = 0; i < last.evalByClass().size(); i++) {
      ClassCount count = last.evalByClass().get(i);
      if (count.seen() > 0) {
        print(
            "accuracy of class %s: %.4f (%.0f of %.0f)",
            ModelFiles.className(classNames, i),
            count.correct() / count.seen(),
            count.correct(),
            count.seen());
      }
    }
    print("finished after step %d; weights_sha256 %s", last.step(), weightsSha256);
  }

  private String lossAndAccuracy(Totals totals) {
    String loss = format("loss %.6g", totals.loss() / totals.samples());
    return classifies
        ? loss + format(", accuracy %.4f", totals.correct() / totals.samples())
        : loss;
  }

  private void print(String format, Object... args) {
    out.println(format(format, args));
  }

  private static String format(String format, Object... args) {
    return String.format(Locale.ROOT, format, args);
  }
}
