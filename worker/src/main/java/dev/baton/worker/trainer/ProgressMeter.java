package dev.baton.worker.trainer;

import dev.baton.v1.Progress;
import dev.baton.worker.data.BatchPlan;

/** Turns steps and time into {@link Progress}. Pure: time is passed in, in nanoseconds. */
final class ProgressMeter {
  private static final long INTERVAL_NANOS = 1_000_000_000L;

  private final BatchPlan plan;
  private final long firstStep;
  private final long startNanos;
  private long lastNanos;
  private long lastSamples;
  private long lastWaitNanos;
  private double samplesPerSecond;
  private double dataWait;

  /**
   * A meter for one attempt.
   *
   * @param resumedStep steps complete at its start
   */
  ProgressMeter(BatchPlan plan, long resumedStep, long now) {
    this.plan = plan;
    this.firstStep = resumedStep + 1;
    this.startNanos = now;
    this.lastNanos = now;
    this.lastSamples = plan.samplesThrough(resumedStep);
  }

  /** The first that this attempt makes. */
  long firstStep() {
    return firstStep;
  }

  /** Whether a report is due: at the first step, then each second. */
  boolean due(long step, long now) {
    return (step == firstStep && startNanos == lastNanos) || now - lastNanos >= INTERVAL_NANOS;
  }

  /** A report; rates are those since the one before. */
  Progress report(long step, double loss, long waitNanos, String phase, long now) {
    long samples = plan.samplesThrough(step);
    long elapsed = Math.max(1, now - lastNanos);
    if (samples > lastSamples) {
      samplesPerSecond = (samples - lastSamples) * 1e9 / elapsed;
      dataWait = Math.min(1, (double) (waitNanos - lastWaitNanos) / elapsed);
    }
    lastNanos = now;
    lastSamples = samples;
    lastWaitNanos = waitNanos;
    Progress.Builder progress =
        Progress.newBuilder()
            .setStep(step)
            .setTotalSteps(plan.totalSteps())
            .setEpoch(plan.epochOf(Math.max(1, step)))
            .setSamplesPerSecond(samplesPerSecond)
            .setDataWait(dataWait)
            .setPhase(phase);
    if (!Double.isNaN(loss)) {
      progress.setLoss(loss);
    }
    long made = step - firstStep + 1;
    if (made > 0) {
      progress.setEtaSeconds((plan.totalSteps() - step) * ((now - startNanos) / 1e9 / made));
    }
    return progress.build();
  }
}
