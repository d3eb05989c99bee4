package dev.baton.client.command;

import static dev.baton.client.testing.Samples.keys;
import static dev.baton.client.testing.Samples.queued;
import static dev.baton.client.testing.Samples.running;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import dev.baton.client.testing.Harness;
import dev.baton.client.testing.Harness.Outcome;
import dev.baton.v1.Job;
import dev.baton.v1.JobState;
import dev.baton.v1.ReplicaProgress;
import dev.baton.v1.Result;
import io.grpc.Status;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code baton jobs} and {@code show}, and the verbs that change a job. */
class JobsAndShowTest {
  @TempDir Path dir;
  private Harness baton;

  @BeforeEach
  void start() {
    baton = new Harness(dir);
  }

  @AfterEach
  void stop() {
    baton.close();
  }

  @Test
  void jobsAsATable() {
    baton.coordinator.jobs.put("j1", running());
    baton.coordinator.jobs.put("j2", queued());
    assertThat(baton.run("jobs", "--state", "running,queued", "--limit", "7"))
        .isEqualTo(
            new Outcome(
                0,
                """
                ID  NAME   STATE      STEP  EPOCH    LOSS  WORKERS  AGE
                j1  lenet  RUNNING  40/100      1  0.2500  w2       2m05s
                j2  waits  QUEUED        -      -       -  -        0s
                """,
                ""));
    assertThat(baton.coordinator.listed.get(0).getLimit()).isEqualTo(7);
    assertThat(baton.coordinator.listed.get(0).getStatesList())
        .containsExactly(JobState.JOB_STATE_RUNNING, JobState.JOB_STATE_QUEUED);
  }

  @Test
  void noJobs() {
    assertThat(baton.run("jobs", "-o", "json").out()).isEqualTo("[]\n");
    assertThat(baton.run("jobs").out())
        .isEqualTo("ID  NAME  STATE  STEP  EPOCH  LOSS  WORKERS  AGE\n");
  }

  @Test
  void showAsJson() {
    baton.coordinator.jobs.put("j1", running());
    Outcome outcome = baton.run("show", "j1", "-o", "json");
    assertThat(outcome.out().lines()).hasSize(1);
    JsonNode job = outcome.json();
    assertThat(keys(job))
        .startsWith("id", "name", "state", "attempts", "progress", "checkpoints", "result");
    assertThat(job.get("state").asText()).isEqualTo("RUNNING");
    assertThat(keys(job.at("/attempts/0")))
        .startsWith(
            "number",
            "term",
            "workers",
            "started_at",
            "ended_at",
            "end_reason",
            "first_step",
            "last_step");
    assertThat(job.at("/attempts/0/first_step").asLong()).isEqualTo(1);
    assertThat(job.at("/attempts/0/started_at").asText()).isEqualTo("2025-12-31T23:58:00.000Z");
    assertThat(job.at("/attempts/1/started_at").asText()).isEqualTo("2025-12-31T23:59:02.500Z");
    assertThat(job.at("/attempts/1/term").asLong()).isEqualTo(3);
    assertThat(job.at("/attempts/1/workers").toString()).isEqualTo("[\"w2\"]");
    for (String key : List.of("ended_at", "end_reason", "first_step", "last_step")) {
      assertThat(job.at("/attempts/1").get(key).isNull()).as(key).isTrue();
    }
    assertThat(keys(job.get("progress")))
        .startsWith("step", "total_steps", "epoch", "loss", "samples_per_second", "eta_seconds");
    assertThat(job.at("/progress/loss").asDouble()).isEqualTo(0.25);
    assertThat(keys(job.at("/checkpoints/0")))
        .startsWith("step", "bytes", "sha256", "committed_at");
    assertThat(job.at("/checkpoints/0/committed_at").asText())
        .isEqualTo("2025-12-31T23:58:49.999Z");
    assertThat(job.get("result").isNull()).isTrue();
  }

  @Test
  void showHasEachReplicaOfAGang() {
    Job.Builder gang = running().toBuilder();
    gang.getProgressBuilder()
        .setSlowestRank(1)
        .addReplicas(ReplicaProgress.newBuilder().setRank(0).setWorker("w1").setAllReduce(0.25))
        .addReplicas(
            ReplicaProgress.newBuilder()
                .setRank(1)
                .setWorker("w2")
                .setSamplesPerSecond(120.4)
                .setAllReduce(0.01)
                .setBytesSent(3_000_000)
                .setMemoryBytes(512 << 20));
    baton.coordinator.jobs.put("j1", gang.build());
    JsonNode progress = baton.run("show", "j1", "-o", "json").json().get("progress");
    assertThat(progress.get("slowest_rank").asInt()).isEqualTo(1);
    assertThat(progress.get("replicas")).hasSize(2);
    assertThat(keys(progress.at("/replicas/1")))
        .containsExactly(
            "rank", "worker", "samples_per_second", "all_reduce", "bytes_sent", "memory_bytes");
    assertThat(progress.at("/replicas/1/worker").asText()).isEqualTo("w2");
    assertThat(baton.run("show", "j1").out())
        .contains("slowest: rank 1 on w2")
        .contains("RANK  WORKER  SAMPLES/S  ALL-REDUCE")
        .containsPattern("0 +w1 +0 +25 %")
        .containsPattern("1 +w2 +120 +1 %");
  }

  @Test
  void emptyListsAndZerosArePrinted() {
    baton.coordinator.jobs.put("j2", queued());
    JsonNode job = baton.run("show", "j2", "-o", "json").json();
    assertThat(job.get("attempts").toString()).isEqualTo("[]");
    assertThat(job.get("checkpoints").toString()).isEqualTo("[]");
    assertThat(job.at("/progress/step").isInt()).isTrue();
    assertThat(job.at("/progress/loss").isNull()).isTrue();
    assertThat(job.at("/progress/eta_seconds").isNull()).isTrue();
    assertThat(job.at("/progress/samples_per_second").asDouble()).isZero();
    assertThat(job.get("reason").asText()).isEqualTo("no worker has 2 GPUs");
  }

  @Test
  void resultsInJson() {
    baton.coordinator.jobs.put(
        "j1",
        running().toBuilder()
            .setState(JobState.JOB_STATE_SUCCEEDED)
            .setResult(
                Result.newBuilder()
                    .putMetrics("loss", 0)
                    .putMetrics("accuracy", 0.975)
                    .setWeightsSha256("cd".repeat(32))
                    .setExact(true))
            .build());
    JsonNode result = baton.run("show", "j1", "-o", "json").json().get("result");
    assertThat(keys(result)).containsExactly("metrics", "weights_sha256", "exact");
    assertThat(result.toString())
        .isEqualTo(
            "{\"metrics\":{\"accuracy\":0.975,\"loss\":0.0},\"weights_sha256\":\""
                + "cd".repeat(32)
                + "\",\"exact\":true}");
    assertThat(baton.run("show", "j1").out())
        .contains("accuracy  0.9750")
        .endsWith("Weights:   sha256 " + "cd".repeat(32) + " (exact)\n");
  }

  @Test
  void showForPeople() {
    baton.coordinator.jobs.put("j1", running());
    assertThat(baton.run("show", "j1"))
        .isEqualTo(
            new Outcome(
                0,
                """
                Job:       j1 (lenet)
                State:     RUNNING
                Submitted: 2025-12-31 23:57:55Z, 2m05s ago
                Progress:  [#########               ]  40 %  step 40/100  epoch 1  loss 0.2500  1235 samples/s  ETA 1m01s

                ATTEMPT  TERM  WORKERS  STARTED               RAN    STEPS  END
                      1     1  w1       2025-12-31 23:58:00Z  1m00s  1..40  worker lost
                      2     3  w2       2025-12-31 23:59:02Z  58s    -      -

                CHECKPOINT       SIZE  COMMITTED             SHA-256
                step 30     244.1 KiB  2025-12-31 23:58:49Z  abababababab...
                """,
                ""));
  }

  @Test
  void why() {
    baton.coordinator.jobs.put("j2", queued());
    assertThat(baton.run("show", "j2", "--why").out()).isEqualTo("QUEUED: no worker has 2 GPUs\n");
  }

  @Test
  void nothingOfOthersSteersTheTerminal() {
    String steering = "\u001b[2J\u009b1m\rgone";
    baton.coordinator.jobs.put("j2", queued().toBuilder().setReason(steering).build());
    assertThat(baton.run("show", "j2", "--why").out()).isEqualTo("QUEUED: ?[2J?1m?gone\n");
    assertThat(baton.run("show", "j2").out()).contains("State:     QUEUED: ?[2J?1m?gone\n");
    assertThat(baton.run("show", "j2", "-o", "json").json().path("reason").asText())
        .isEqualTo(steering);
  }

  @Test
  void unknownJobs() {
    assertThat(baton.run("show", "nope"))
        .isEqualTo(new Outcome(1, "", "error: job nope does not exist\n"));
    assertThat(baton.run("cancel", "nope").code()).isEqualTo(1);
    assertThat(baton.run("watch", "nope").code()).isEqualTo(1);
    assertThat(baton.run("wait", "nope").code()).isEqualTo(1);
    assertThat(baton.run("logs", "nope").code()).isEqualTo(1);
  }

  @ParameterizedTest
  @CsvSource({"cancel,CANCELLED", "pause,PAUSED", "resume,QUEUED"})
  void changesOfState(String verb, String state) {
    baton.coordinator.jobs.put("j1", running());
    assertThat(baton.run(verb, "j1")).isEqualTo(new Outcome(0, state + "\n", ""));
    baton.coordinator.failures.add(
        Status.FAILED_PRECONDITION.withDescription("job j1 has SUCCEEDED"));
    assertThat(baton.run(verb, "j1"))
        .isEqualTo(new Outcome(1, "", "error: job j1 has SUCCEEDED\n"));
  }
}
