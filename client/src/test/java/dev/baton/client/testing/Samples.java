package dev.baton.client.testing;

import com.fasterxml.jackson.databind.JsonNode;
import dev.baton.v1.Attempt;
import dev.baton.v1.Checkpoint;
import dev.baton.v1.Job;
import dev.baton.v1.JobSpec;
import dev.baton.v1.JobState;
import dev.baton.v1.Progress;
import java.util.ArrayList;
import java.util.List;

/** Jobs as the coordinator describes them, and what tests ask of JSON. */
public final class Samples {
  private static final long NOW = ManualTime.START_MILLIS;

  private Samples() {}

  /** In its second attempt. */
  public static Job running() {
    return Job.newBuilder()
        .setId("j1")
        .setSpec(JobSpec.newBuilder().setName("lenet"))
        .setState(JobState.JOB_STATE_RUNNING)
        .setCreatedAtMs(NOW - 125_000)
        .addAttempts(
            Attempt.newBuilder()
                .setNumber(1)
                .setTerm(1)
                .addWorkers("w1")
                .setStartedAtMs(NOW - 120_000)
                .setEndedAtMs(NOW - 60_000)
                .setEndReason("worker lost")
                .setFirstStep(1)
                .setLastStep(40))
        .addAttempts(
            Attempt.newBuilder()
                .setNumber(2)
                .setTerm(3)
                .addWorkers("w2")
                .setStartedAtMs(NOW - 57_500))
        .setProgress(
            Progress.newBuilder()
                .setStep(40)
                .setTotalSteps(100)
                .setEpoch(1)
                .setLoss(0.25)
                .setSamplesPerSecond(1234.5)
                .setEtaSeconds(61.2))
        .addCheckpoints(
            Checkpoint.newBuilder()
                .setStep(30)
                .setBytes(250_000)
                .setSha256("ab".repeat(32))
                .setCommittedAtMs(NOW - 70_001))
        .build();
  }

  /** Waits, and says for what. */
  public static Job queued() {
    return Job.newBuilder()
        .setId("j2")
        .setSpec(JobSpec.newBuilder().setName("waits"))
        .setState(JobState.JOB_STATE_QUEUED)
        .setReason("no worker has 2 GPUs")
        .setCreatedAtMs(NOW)
        .build();
  }

  /** The keys of an object, in its order. */
  public static List<String> keys(JsonNode node) {
    List<String> keys = new ArrayList<>();
    node.fieldNames().forEachRemaining(keys::add);
    return keys;
  }
}
