package dev.baton.client.output;

import dev.baton.v1.Attempt;
import dev.baton.v1.Checkpoint;
import dev.baton.v1.Job;
import dev.baton.v1.JobEvent;
import dev.baton.v1.JobState;
import dev.baton.v1.Progress;
import dev.baton.v1.ReplicaProgress;
import dev.baton.v1.Result;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** Jobs as scripts read them: the keys that the documentation promises, in its order, then more. */
public final class JobJson {
  private JobJson() {}

  /** A job with everything that is known of it. */
  public static JsonObject of(Job job) {
    return new JsonObject()
        .put("id", job.getId())
        .put("name", job.getSpec().getName())
        .put("state", state(job.getState()))
        .put("attempts", job.getAttemptsList().stream().map(JobJson::of).toList())
        .put("progress", of(job.getProgress()))
        .put("checkpoints", job.getCheckpointsList().stream().map(JobJson::of).toList())
        .put("result", job.hasResult() ? of(job.getResult()) : null)
        .put("reason", job.getReason())
        .put("created_at", Units.isoTime(job.getCreatedAtMs()))
        .put("ended_at", Units.isoTime(job.getEndedAtMs()))
        .put("failures", job.getFailures());
  }

  /** RUNNING, say. */
  public static String state(JobState state) {
    String name = state.name();
    String prefix = "JOB_STATE_";
    return name.startsWith(prefix) ? name.substring(prefix.length()) : name;
  }

  /** One line of a watched job; {@code step} stands only on a step's. */
  public static JsonObject of(JobEvent event) {
    JsonObject json =
        new JsonObject().put("time", event.getTimeMs()).put("state", state(event.getState()));
    if (event.hasStep() && event.getEvent().equals("step")) {
      json.put("step", event.getStep());
    }
    json.put("loss", event.hasLoss() ? (Double) event.getLoss() : null)
        .put("workers", event.getWorkersList())
        .put("event", event.getEvent());
    return event.getMessage().isEmpty() ? json : json.put("message", event.getMessage());
  }

  private static JsonObject of(Attempt attempt) {
    return new JsonObject()
        .put("number", attempt.getNumber())
        .put("term", attempt.getTerm())
        .put("workers", attempt.getWorkersList())
        .put("started_at", Units.isoTime(attempt.getStartedAtMs()))
        .put("ended_at", Units.isoTime(attempt.getEndedAtMs()))
        .put("end_reason", emptyAsNull(attempt.getEndReason()))
        .put("first_step", attempt.hasFirstStep() ? (Long) attempt.getFirstStep() : null)
        .put("last_step", attempt.hasLastStep() ? (Long) attempt.getLastStep() : null)
        .put("kind", emptyAsNull(attempt.getKind()));
  }

  private static JsonObject of(Progress progress) {
    return new JsonObject()
        .put("step", progress.getStep())
        .put("total_steps", progress.getTotalSteps())
        .put("epoch", progress.getEpoch())
        .put("loss", progress.hasLoss() ? (Double) progress.getLoss() : null)
        .put("samples_per_second", progress.getSamplesPerSecond())
        .put("eta_seconds", progress.hasEtaSeconds() ? (Double) progress.getEtaSeconds() : null)
        .put("data_wait", progress.getDataWait())
        .put("phase", progress.getPhase())
        .put("replicas", progress.getReplicasList().stream().map(JobJson::of).toList())
        .put(
            "slowest_rank", progress.hasSlowestRank() ? (Integer) progress.getSlowestRank() : null);
  }

  private static JsonObject of(ReplicaProgress replica) {
    return new JsonObject()
        .put("rank", replica.getRank())
        .put("worker", replica.getWorker())
        .put("samples_per_second", replica.getSamplesPerSecond())
        .put("all_reduce", replica.getAllReduce())
        .put("bytes_sent", replica.getBytesSent())
        .put("memory_bytes", replica.getMemoryBytes());
  }

  private static JsonObject of(Checkpoint checkpoint) {
    return new JsonObject()
        .put("step", checkpoint.getStep())
        .put("bytes", checkpoint.getBytes())
        .put("sha256", checkpoint.getSha256())
        .put("committed_at", Units.isoTime(checkpoint.getCommittedAtMs()))
        .put("term", checkpoint.getTerm());
  }

  private static JsonObject of(Result result) {
    return new JsonObject()
        .put("metrics", new TreeMap<>(result.getMetricsMap()))
        .put("weights_sha256", result.getWeightsSha256())
        .put("exact", result.getExact());
  }

  private static @Nullable String emptyAsNull(String text) {
    return text.isEmpty() ? null : text;
  }
}
