package dev.baton.client.command;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import dev.baton.client.output.Terminal.Screen;
import dev.baton.client.output.Terminal.Size;
import dev.baton.client.testing.Harness;
import dev.baton.client.testing.Harness.Outcome;
import dev.baton.client.testing.ManualTime;
import dev.baton.v1.Attempt;
import dev.baton.v1.Gpu;
import dev.baton.v1.Job;
import dev.baton.v1.JobSpec;
import dev.baton.v1.JobState;
import dev.baton.v1.Machine;
import dev.baton.v1.Progress;
import dev.baton.v1.WorkerInfo;
import io.grpc.Status;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TopTest {
  private static final long NOW = ManualTime.START_MILLIS;
  private static final Screen TERMINAL = new Screen(true, true, 80);

  @TempDir Path dir;
  private Harness baton;

  @BeforeEach
  void start() {
    baton = new Harness(dir);
    baton.coordinator.workers.add(worker("w1", "j1").build());
    baton.coordinator.jobs.put(
        "j2",
        Job.newBuilder()
            .setId("j2")
            .setSpec(JobSpec.newBuilder().setName("waits"))
            .setState(JobState.JOB_STATE_QUEUED)
            .setReason("no worker has 2 GPUs")
            .build());
    baton.coordinator.jobs.put("j1", running("j1"));
  }

  @AfterEach
  void stop() {
    baton.close();
  }

  private static WorkerInfo.Builder worker(String name, String... jobs) {
    return WorkerInfo.newBuilder()
        .setId("id-of-" + name)
        .setName(name)
        .setState("ACTIVE")
        .setSlots(2)
        .addAllJobs(List.of(jobs))
        .setMachine(
            Machine.newBuilder()
                .setCpus(8)
                .setMemoryBytes(16L << 30)
                .addGpus(Gpu.newBuilder().setModel("Tesla T4")))
        .setConnectedAtMs(NOW - 65_000);
  }

  private static Job running(String id) {
    return Job.newBuilder()
        .setId(id)
        .setSpec(JobSpec.newBuilder().setName("lenet"))
        .setState(JobState.JOB_STATE_RUNNING)
        .addAttempts(Attempt.newBuilder().setNumber(1).addWorkers("w1"))
        .setProgress(
            Progress.newBuilder()
                .setStep(40)
                .setTotalSteps(100)
                .setLoss(0.25)
                .setSamplesPerSecond(1234.5)
                .setEtaSeconds(61.2))
        .build();
  }

  /** Ends what never ends by itself. */
  private void cutOffAfter(int refreshes) {
    AtomicInteger count = new AtomicInteger();
    baton.time.whileAsleep(
        () -> {
          if (count.incrementAndGet() == refreshes) {
            baton.coordinator.failures.add(Status.PERMISSION_DENIED.withDescription("enough"));
          }
        });
  }

  @Test
  void inAPipeThereIsOneSnapshotWithRunningJobsFirst() {
    Outcome outcome = baton.run("top");
    assertThat(outcome)
        .isEqualTo(
            new Outcome(
                0,
                """
                2026-01-01 00:00:00Z  127.0.0.1:7070  workers: 1, slots used: 1/2  jobs: 1 running, 1 queued, 0 paused

                WORKER  STATE   SLOTS  CPUS    MEMORY  GPUS      UP     JOBS
                w1      ACTIVE    1/2     8  16.0 GiB  Tesla T4  1m05s  j1

                JOB  NAME   STATE      STEP    LOSS  SAMPLES/S  ETA    WORKERS
                j1   lenet  RUNNING  40/100  0.2500       1235  1m01s  w1
                j2   waits  QUEUED        -       -          -  -      (no worker has 2 GPUs)
                """,
                ""));
    baton.screen = TERMINAL;
    assertThat(baton.run("top", "--once")).isEqualTo(outcome);
  }

  @Test
  void onATerminalTheScreenIsDrawnEachSecondAndGivenBack() {
    baton.screen = TERMINAL;
    baton.size = new Size(60, 9);
    for (int i = 3; i < 20; i++) {
      baton.coordinator.workers.add(worker("w" + i).build());
      baton.coordinator.jobs.put("j" + i, running("j" + i));
    }
    cutOffAfter(3);
    Outcome outcome = baton.run("top");
    assertThat(outcome.code()).isEqualTo(1);
    assertThat(outcome.err()).isEqualTo("error: the token's role does not allow this: enough\n");
    assertThat(outcome.out())
        .startsWith("\u001b[?1049h\u001b[?25l")
        .endsWith("\u001b[?25h\u001b[?1049l");
    assertThat(outcome.out().split("\u001b\\[\\?1049", -1)).as("entered and left once").hasSize(3);
    String[] drawn = outcome.out().split("\u001b\\[H", -1);
    assertThat(drawn).hasSize(4);
    List<String> lines =
        drawn[3].lines().map(l -> l.replaceAll("\u001b\\[[?0-9]*[A-Za-z]", "")).toList();
    assertThat(lines).hasSize(9).allMatch(line -> line.length() <= 60);
    assertThat(lines.get(0)).startsWith("2026-01-01 00:00:02Z  127.0.0.1:7070");
    assertThat(lines.get(1)).isEqualTo("(no room for 16 more workers and 17 more jobs)");
    assertThat(lines.get(2)).startsWith("WORKER");
    assertThat(lines.get(3)).startsWith("w1 ");
    assertThat(lines.get(6)).startsWith("JOB");
    assertThat(lines.get(8)).startsWith("j3");
    assertThat(drawn[3]).as("nothing scrolls").doesNotContain("\n\u001b[J");
  }

  @Test
  void asJsonThereIsALineEachSecond() {
    cutOffAfter(2);
    Outcome outcome = baton.run("top", "-o", "json");
    assertThat(outcome.code()).isEqualTo(1);
    List<JsonNode> lines = outcome.jsonLines();
    assertThat(lines).hasSize(2);
    assertThat(lines.get(1).get("time").asLong()).isEqualTo(NOW + 1_000);
    assertThat(lines.get(1).at("/workers/0/name").asText()).isEqualTo("w1");
    assertThat(lines.get(1).at("/jobs/0/progress/step").asInt()).isEqualTo(40);
    assertThat(baton.run("top", "-o", "json", "--once").jsonLines()).hasSize(1);
  }

  @Test
  void aRestartOfTheCoordinatorIsSaidAndSurvived() {
    baton.screen = TERMINAL;
    baton.size = new Size(120, 24);
    AtomicInteger sleeps = new AtomicInteger();
    baton.time.whileAsleep(
        () -> {
          switch (sleeps.incrementAndGet()) {
            case 2 -> baton.coordinator.stop();
            case 20 -> baton.coordinator.start();
            case 23 -> baton.coordinator.failures.add(Status.PERMISSION_DENIED);
            default -> {}
          }
        });
    Outcome outcome = baton.run("top");
    assertThat(outcome.code()).as(outcome.err()).isEqualTo(1);
    assertThat(outcome.out().split("lost the coordinator; trying again for 60 s", -1)).hasSize(2);
    assertThat(outcome.err()).doesNotContain("lost");
  }

  @Test
  void aCoordinatorThatStaysAwayIsGivenUpAfterAMinute() {
    baton.time.whileAsleep(baton.coordinator::stop);
    Outcome outcome = baton.run("top", "-o", "json");
    assertThat(outcome.code()).isEqualTo(5);
    assertThat(outcome.err()).startsWith("lost the coordinator").contains("error: cannot reach");
    assertThat(baton.time.passed()).isBetween(Duration.ofSeconds(60), Duration.ofSeconds(63));
  }

  @Test
  void oneThatWasNeverThereIsNotWaitedFor() {
    baton.coordinator.stop();
    baton.screen = TERMINAL;
    Outcome outcome = baton.run("top");
    assertThat(outcome.code()).isEqualTo(5);
    assertThat(outcome.out()).isEmpty();
    assertThat(baton.time.passed()).isZero();
  }

  @Test
  void completionKnowsEveryVerbAndWordsForOptions() {
    for (String shell : List.of("bash", "zsh")) {
      Outcome outcome = baton.run("completion", shell);
      assertThat(outcome.code()).as(outcome.err()).isZero();
      assertThat(outcome.out())
          .startsWith("#!/usr/bin/env bash")
          .contains("function _picocli_baton_dataset_push()", "complete -F _complete_baton")
          .contains("\"admin\" \"user\" \"worker\"", "--token-file");
    }
    assertThat(baton.run("completion", "fish").code()).isEqualTo(2);
  }
}
