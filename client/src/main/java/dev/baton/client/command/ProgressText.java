package dev.baton.client.command;

import dev.baton.client.output.ProgressLine;
import dev.baton.client.output.Units;
import dev.baton.v1.Progress;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** A job's progress in one line. */
final class ProgressText {
  private ProgressText() {}

  static String of(Progress progress) {
    List<String> parts = new ArrayList<>();
    if (progress.getTotalSteps() > 0) {
      parts.add(ProgressLine.bar(progress.getStep(), progress.getTotalSteps()));
      parts.add("step " + progress.getStep() + "/" + progress.getTotalSteps());
    } else {
      parts.add("step " + progress.getStep());
    }
    if (progress.getEpoch() > 0) {
      parts.add("epoch " + progress.getEpoch());
    }
    if (progress.hasLoss()) {
      parts.add(String.format(Locale.ROOT, "loss %.4f", progress.getLoss()));
    }
    if (progress.getSamplesPerSecond() > 0) {
      parts.add(String.format(Locale.ROOT, "%.0f samples/s", progress.getSamplesPerSecond()));
    }
    if (progress.hasEtaSeconds()) {
      parts.add("ETA " + Units.duration(progress.getEtaSeconds()));
    }
    if (progress.hasSlowestRank()) {
      parts.add("slowest: rank " + progress.getSlowestRank() + worker(progress));
    }
    if (!progress.getPhase().isEmpty()) {
      parts.add(progress.getPhase());
    }
    return String.join("  ", parts);
  }

  private static String worker(Progress progress) {
    return progress.getReplicasList().stream()
        .filter(replica -> replica.getRank() == progress.getSlowestRank())
        .findFirst()
        .map(replica -> " on " + replica.getWorker())
        .orElse("");
  }
}
