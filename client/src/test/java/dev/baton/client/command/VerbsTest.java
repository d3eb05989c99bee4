package dev.baton.client.command;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import dev.baton.client.output.Terminal.Screen;
import dev.baton.client.testing.Harness;
import dev.baton.client.testing.Harness.Outcome;
import dev.baton.client.testing.ManualTime;
import dev.baton.v1.Artifact;
import dev.baton.v1.Attempt;
import dev.baton.v1.Checkpoint;
import dev.baton.v1.Gpu;
import dev.baton.v1.Job;
import dev.baton.v1.JobSpec;
import dev.baton.v1.JobState;
import dev.baton.v1.Machine;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Progress;
import dev.baton.v1.ReplicaProgress;
import dev.baton.v1.Result;
import dev.baton.v1.WorkerInfo;
import io.grpc.Status;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class VerbsTest {
  private static final long NOW = ManualTime.START_MILLIS;
  private static final String JOB_FILE = "name: a\ntraining: {epochs: 2, batch_size: 4}\n";

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

  private static Job running() {
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

  private static Job queued() {
    return Job.newBuilder()
        .setId("j2")
        .setSpec(JobSpec.newBuilder().setName("waits"))
        .setState(JobState.JOB_STATE_QUEUED)
        .setReason("no worker has 2 GPUs")
        .setCreatedAtMs(NOW)
        .build();
  }

  private static List<String> keys(JsonNode node) {
    List<String> keys = new ArrayList<>();
    node.fieldNames().forEachRemaining(keys::add);
    return keys;
  }

  private Path write(String name, String content) throws IOException {
    return Files.writeString(dir.resolve(name), content);
  }

  // submit

  @Test
  void submitPrintsTheIdAlone() throws IOException {
    Outcome outcome =
        baton.run(
            "submit",
            write("job.yaml", JOB_FILE).toString(),
            "--set",
            "training.epochs=3",
            "--set=name=b");
    assertThat(outcome).isEqualTo(new Outcome(0, "job-1\n", ""));
    assertThat(baton.coordinator.submitted).hasSize(1);
    assertThat(baton.coordinator.submitted.get(0).getRequestId()).hasSize(36);
    assertThat(baton.coordinator.submitted.get(0).getSpec().getTraining().getEpochs()).isEqualTo(3);
    assertThat(baton.coordinator.submitted.get(0).getSpec().getName()).isEqualTo("b");
  }

  @Test
  void submitReadsStandardInput() {
    baton.in = JOB_FILE;
    assertThat(baton.run("submit", "-").out()).isEqualTo("job-1\n");
    baton.in = "nme: a";
    assertThat(baton.run("submit", "-").err())
        .isEqualTo("error: standard input:1: nme: unknown key; did you mean name?\n");
  }

  @Test
  void badFilesEndWithTwoAndAreNotSent() throws IOException {
    Path bad = write("bad.yaml", "training: {epoch: 3}");
    assertThat(baton.run("submit", bad.toString()))
        .isEqualTo(
            new Outcome(
                2,
                "",
                "error: " + bad + ":1: training.epoch: unknown key; did you mean epochs?\n"));
    assertThat(baton.run("submit", dir.resolve("none.yaml").toString()))
        .isEqualTo(
            new Outcome(
                2,
                "",
                "error: cannot read the job file "
                    + dir.resolve("none.yaml")
                    + ": no such file or folder\n"));
    assertThat(baton.run("submit", dir.toString()).err()).contains("is a folder, not a file");
    assertThat(baton.coordinator.submitted).isEmpty();
    assertThat(baton.connections).isEmpty();
  }

  @Test
  void whatTheCoordinatorSaysOfASubmittedFile() throws IOException {
    String file = write("job.yaml", JOB_FILE).toString();
    baton.coordinator.failures.add(
        Status.INVALID_ARGUMENT.withDescription("training.batch_size: expected at least 1"));
    assertThat(baton.run("submit", file))
        .isEqualTo(
            new Outcome(2, "", "error: " + file + ": training.batch_size: expected at least 1\n"));
    baton.coordinator.failures.add(
        Status.FAILED_PRECONDITION.withDescription("data.train: no data set mnist"));
    assertThat(baton.run("submit", file))
        .isEqualTo(new Outcome(1, "", "error: data.train: no data set mnist\n"));
  }

  @Test
  void aSubmitWhoseAnswerWasLostIsRepeatedWithTheSameId() throws IOException {
    baton.coordinator.failures.add(Status.UNAVAILABLE.withDescription("the coordinator stops"));
    baton.coordinator.failures.add(Status.UNAVAILABLE);
    Outcome outcome = baton.run("submit", write("job.yaml", JOB_FILE).toString());
    assertThat(outcome).isEqualTo(new Outcome(0, "job-1\n", ""));
    for (int i = 0; i < 100; i++) {
      baton.coordinator.failures.add(Status.UNAVAILABLE.withDescription("the coordinator stops"));
    }
    assertThat(baton.run("submit", dir.resolve("job.yaml").toString()))
        .isEqualTo(
            new Outcome(
                5,
                "",
                "error: cannot reach the coordinator at 127.0.0.1:7070: the coordinator stops\n"));
  }

  // jobs, show

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

  // metrics, artifacts

  @Test
  void metrics() {
    for (int step = 1; step <= 3; step++) {
      baton.coordinator.points.add(
          MetricPoint.newBuilder()
              .setSeries("train/loss")
              .setStep(50L * step)
              .setValue(1.0 / step)
              .setTimeMs(NOW + step)
              .build());
    }
    baton.coordinator.points.add(
        MetricPoint.newBuilder().setSeries("a,\"b\"").setStep(1).setValue(2).build());
    assertThat(baton.run("metrics", "j1", "-o", "csv").out())
        .isEqualTo(
            """
            series,step,value,time
            train/loss,50,1.0,1767225600001
            train/loss,100,0.5,1767225600002
            train/loss,150,0.3333333333333333,1767225600003
            "a,""b\""",1,2.0,0
            """);
    JsonNode json = baton.run("metrics", "j1", "-o", "json").json();
    assertThat(json).hasSize(4);
    assertThat(json.get(1).toString())
        .isEqualTo("{\"series\":\"train/loss\",\"step\":100,\"value\":0.5,\"time\":1767225600002}");
    assertThat(baton.run("metrics", "j1").out())
        .isEqualTo(
            """
            SERIES      POINTS  STEP    LAST     MIN  MAX
            a,"b"            1     1       2       2    2
            train/loss       3   150  0.3333  0.3333    1
            """);
  }

  private void artifact(String name, String content) {
    baton.coordinator.artifacts.add(
        Artifact.newBuilder()
            .setName(name)
            .setBytes(content.length())
            .setSha256("ef".repeat(32))
            .setCreatedAtMs(NOW)
            .build());
    baton.transfer.objects.put("get:" + name, content.getBytes(StandardCharsets.UTF_8));
  }

  @Test
  void artifacts() throws IOException {
    artifact("model.pth", "weights");
    assertThat(baton.run("artifacts", "ls", "j1", "-o", "json").json().toString())
        .isEqualTo(
            "[{\"name\":\"model.pth\",\"bytes\":7,\"sha256\":\""
                + "ef".repeat(32)
                + "\",\"created_at\":\"2026-01-01T00:00:00.000Z\"}]");
    assertThat(baton.run("artifacts", "ls", "j1").out()).contains("model.pth   7 B");
    assertThat(baton.run("artifacts", "get", "j1", "model.pth", "-O", "-"))
        .isEqualTo(new Outcome(0, "weights", ""));
    Path file = dir.resolve("out.pth");
    assertThat(baton.run("artifacts", "get", "j1", "model.pth", "-O", file.toString()).out())
        .isEmpty();
    assertThat(file).hasContent("weights");
    assertThat(baton.run("artifacts", "get", "j1", "model.pth", "-O", dir.toString()).code())
        .isZero();
    assertThat(dir.resolve("model.pth")).hasContent("weights");
    assertThat(baton.run("artifacts", "get", "j1", "none"))
        .isEqualTo(new Outcome(1, "", "error: artifact none does not exist\n"));
    assertThat(
            baton.run(
                "artifacts", "get", "j1", "model.pth", "-O", dir.resolve("no/file").toString()))
        .isEqualTo(
            new Outcome(
                1,
                "",
                "error: cannot write " + dir.resolve("no/file") + ": no such file or folder\n"));
  }

  @Test
  void theRestOfAnotherDownloadIsFetchedAnew() throws IOException {
    artifact("model.pth", "weights");
    write("model.pth.part", "other");
    baton.transfer.mismatchOnce = true;
    assertThat(baton.run("artifacts", "get", "j1", "model.pth", "-O", dir.toString()).code())
        .isZero();
    assertThat(dir.resolve("model.pth")).hasContent("weights");
    Files.delete(dir.resolve("model.pth"));
    baton.transfer.mismatchOnce = true;
    Outcome damaged = baton.run("artifacts", "get", "j1", "model.pth", "-O", dir.toString());
    assertThat(damaged.code()).isEqualTo(1);
    assertThat(damaged.err()).contains("are not the promised ones");
  }

  // data sets

  private Path idx() throws IOException {
    Path folder = Files.createDirectories(dir.resolve("digits"));
    for (String split : List.of("train", "t10k")) {
      byte[] images = new byte[16 + 3 * 4];
      images[2] = 8;
      images[3] = 3;
      images[7] = 3;
      images[11] = 2;
      images[15] = 2;
      byte[] labels = {0, 0, 8, 1, 0, 0, 0, 3, 0, 1, 2};
      gzip(folder.resolve(split + "-images-idx3-ubyte.gz"), images);
      gzip(folder.resolve(split + "-labels-idx1-ubyte.gz"), labels);
    }
    return folder;
  }

  private static void gzip(Path file, byte[] content) throws IOException {
    try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(file))) {
      out.write(content);
    }
  }

  @Test
  void pushAndLookAtADataset() throws IOException {
    Outcome pushed = baton.run("dataset", "push", "digits", idx().toString(), "--format", "idx");
    assertThat(pushed.err()).isEmpty();
    assertThat(pushed.code()).isZero();
    assertThat(pushed.out()).matches("digits@[0-9a-f]{64}\n");
    assertThat(baton.coordinator.commits).hasSize(1);
    var commit = baton.coordinator.commits.get(0);
    assertThat(commit.getDataset().getFilesCount())
        .isEqualTo(4)
        .isEqualTo(commit.getUploadsCount());
    for (int i = 0; i < 4; i++) {
      assertThat(commit.getUploads(i).getEtags(0))
          .isEqualTo("etag-" + commit.getDataset().getFiles(i).getSha256());
    }
    assertThat(baton.transfer.objects).isNotEmpty();

    JsonNode shown = baton.run("dataset", "show", "digits", "-o", "json").json();
    assertThat(keys(shown))
        .containsExactly(
            "name", "digest", "format", "bytes", "splits", "class_names", "files", "created_at");
    assertThat(pushed.out()).isEqualTo("digits@" + shown.get("digest").asText() + "\n");
    assertThat(shown.at("/splits/0").toString())
        .isEqualTo("{\"name\":\"train\",\"samples\":3,\"shape\":[1,2,2],\"classes\":3}");
    assertThat(baton.run("dataset", "show", "digits").out())
        .contains("Format:  idx\n")
        .contains("train        3  1x2x2        3\n");
    assertThat(baton.run("dataset", "ls", "-o", "json").json()).hasSize(1);
    assertThat(baton.run("dataset", "ls").out()).contains("digits  idx     train: 3, test: 3");

    assertThat(baton.run("dataset", "push", "digits", idx().toString())).isEqualTo(pushed);
    assertThat(baton.coordinator.commits).hasSize(1);
    Files.delete(dir.resolve("digits/train-labels-idx1-ubyte.gz"));
    gzip(
        dir.resolve("digits/train-labels-idx1-ubyte.gz"),
        new byte[] {0, 0, 8, 1, 0, 0, 0, 3, 1, 1, 1});
    Outcome other = baton.run("dataset", "push", "digits", dir.resolve("digits").toString());
    assertThat(other.code()).isEqualTo(1);
    assertThat(other.err()).startsWith("error: a data set digits exists with other content");

    assertThat(baton.run("dataset", "rm", "digits")).isEqualTo(new Outcome(0, "", ""));
    assertThat(baton.run("dataset", "rm", "digits").code()).isEqualTo(1);
    assertThat(baton.run("dataset", "ls", "-o", "json").out()).isEqualTo("[]\n");
  }

  @Test
  void anInterruptedPushGoesOnWithTheSameUploads() throws IOException {
    Path folder = idx();
    baton.transfer.breakUpload = true;
    Outcome broken = baton.run("dataset", "push", "digits", folder.toString());
    assertThat(broken.code()).isEqualTo(1);
    assertThat(broken.err()).matches("error: sending .*: connection reset\n");
    assertThat(baton.run("dataset", "push", "digits", folder.toString()).code()).isZero();
    assertThat(baton.coordinator.uploads.get(1).getUploadId())
        .isEqualTo(baton.coordinator.uploads.get(0).getUploadId());
    baton.coordinator.datasets.clear();
    int before = baton.coordinator.uploads.size();
    baton.run("dataset", "push", "digits", folder.toString());
    assertThat(baton.coordinator.uploads.get(before).getUploadId())
        .isNotEqualTo(baton.coordinator.uploads.get(0).getUploadId());
  }

  @Test
  void badDatasets() throws IOException {
    assertThat(baton.run("dataset", "push", "Digits", idx().toString()).err())
        .startsWith("error: 'Digits' cannot be a data set's name; expected [a-z0-9._-]{1,63}");
    Outcome missing = baton.run("dataset", "push", "digits", dir.resolve("none").toString());
    assertThat(missing.code()).isEqualTo(2);
    assertThat(missing.err()).contains("none").hasLineCount(1);
    Outcome format = baton.run("dataset", "push", "digits", idx().toString(), "--format", "idy");
    assertThat(format.code()).isEqualTo(2);
    assertThat(format.err()).contains("idy").contains("image-folder").hasLineCount(1);
    // A link to nowhere.
    Path state = Files.createDirectory(dir.resolve("state")).resolve("baton");
    Files.createSymbolicLink(state, dir.resolve("nowhere"));
    baton.environment.put("XDG_STATE_HOME", state.getParent().toString());
    assertThat(baton.run("dataset", "push", "digits", idx().toString()).err())
        .isEqualTo("error: " + state + ": exists already\n");
    assertThat(baton.coordinator.uploads).isEmpty();
  }

  @Test
  void progressOnATerminal() throws IOException {
    baton.screen = new Screen(true, true, 60);
    Outcome pushed = baton.run("dataset", "push", "digits", idx().toString());
    assertThat(pushed.out()).matches("digits@[0-9a-f]{64}\n");
    assertThat(pushed.err())
        .contains("\rtrain-images-idx3-ubyte.gz [########################] 100 %")
        .endsWith("\r\u001b[K");
    assertThat(pushed.err().split("\r")).allMatch(line -> line.length() < 60 + 3);
  }

  // workers, tokens

  @Test
  void workers() {
    baton.coordinator.workers.add(
        WorkerInfo.newBuilder()
            .setId("id-1")
            .setName("w1")
            .setState("ACTIVE")
            .setSlots(2)
            .addJobs("j1")
            .setConnectedAtMs(NOW - 3_720_000)
            .setMachine(
                Machine.newBuilder()
                    .setHostname("h")
                    .setCpus(8)
                    .setMemoryBytes(16L << 30)
                    .addGpus(Gpu.newBuilder().setModel("T4").setMemoryBytes(15L << 30)))
            .build());
    assertThat(baton.run("workers").out())
        .isEqualTo(
            """
            NAME  STATE   JOBS  SLOTS  CPUS    MEMORY  GPUS  CONNECTED  ID
            w1    ACTIVE     1      2     8  16.0 GiB  T4    1h02m      id-1
            """);
    JsonNode json = baton.run("workers", "-o", "json").json();
    assertThat(keys(json.get(0)))
        .containsExactly("id", "name", "state", "slots", "jobs", "connected_at", "machine");
    assertThat(json.at("/0/machine/gpus/0/model").asText()).isEqualTo("T4");
    assertThat(baton.run("drain", "w1")).isEqualTo(new Outcome(0, "DRAINING\n", ""));
    assertThat(baton.run("drain", "w2").code()).isEqualTo(1);
  }

  @Test
  void tokens() {
    Outcome plain = baton.run("token", "create", "--role", "worker");
    assertThat(plain.out()).matches("secret-[0-9a-f-]{36}\n");
    assertThat(baton.coordinator.tokens.get(0).getRole()).isEqualTo("worker");
    assertThat(baton.coordinator.tokens.get(0).getTtlSeconds()).isZero();
    JsonNode json =
        baton.run("token", "create", "--role", "user", "--ttl", "30d", "-o", "json").json();
    assertThat(keys(json)).containsExactly("token", "id", "role", "expires_at", "join");
    assertThat(json.get("join").isNull()).as("join line of a user").isTrue();
    assertThat(json.get("expires_at").asText()).isEqualTo("2026-01-31T00:00:00.000Z");
    assertThat(baton.coordinator.tokens.get(1).getTtlSeconds()).isEqualTo(2_592_000);
    assertThat(
            baton
                .run("token", "create", "--role", "user", "-o", "json")
                .json()
                .get("expires_at")
                .isNull())
        .isTrue();
    for (String bad : List.of("30", "0s", "10ms")) {
      assertThat(baton.run("token", "create", "--role", "user", "--ttl", bad).code()).isEqualTo(2);
    }
  }

  // usage, settings, errors

  @ParameterizedTest
  @CsvSource(
      delimiter = '^',
      quoteCharacter = '`',
      textBlock =
          """
          sumbit x ^ unknown verb sumbit; did you mean submit? (see baton --help)
          cordinator ^ unknown verb cordinator; did you mean coordinator? (see baton --help)
          dataset pull ^ unknown verb pull; did you mean push? (see baton dataset --help)
          dataset ^ a verb is missing; one of push, ls, show, rm (see baton dataset --help)
          token ^ a verb is missing; one of create (see baton token --help)
          wait j1 --timout 3s ^ unknown option --timout; did you mean --timeout? (see baton wait --help)
          wait j1 --timeout=3 ^ invalid value for option '--timeout': '3' is no duration; expected a number with its unit, as in 30s, 10m, 1h30m (see baton wait --help)
          show ^ missing required parameter: 'JOB' (see baton show --help)
          show a b ^ unexpected argument b (see baton show --help)
          jobs -o xml ^ invalid value for option '--output': expected one of [TABLE, JSON] (case-insensitive) but was 'xml' (see baton jobs --help)
          jobs --limit 0 ^ --limit 0: expected 1 to 1000 (see baton jobs --help)
          submit x --timeout 3s ^ --timeout without --wait: it limits how long --wait waits (see baton submit --help)
          token create ^ missing required option: '--role=admin|user|worker' (see baton token create --help)
          """)
  void wrongUsageEndsInOneLineAndTwo(String args, String expected) {
    assertThat(baton.run(args.split(" ")))
        .isEqualTo(new Outcome(2, "", "error: " + expected + "\n"));
  }

  @Test
  void noVerbAtAll() {
    Outcome outcome = baton.run();
    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err()).startsWith("error: a verb is missing; one of submit, jobs,");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "submit",
        "jobs",
        "show",
        "watch",
        "logs",
        "wait",
        "cancel",
        "pause",
        "resume",
        "metrics",
        "artifacts",
        "artifacts ls",
        "artifacts get",
        "dataset",
        "dataset push",
        "dataset ls",
        "dataset show",
        "dataset rm",
        "workers",
        "drain",
        "token",
        "token create"
      })
  void everyVerbHasHelp(String verb) {
    Outcome outcome = baton.run((verb + " --help").split(" "));
    assertThat(outcome.code()).isZero();
    assertThat(outcome.err()).isEmpty();
    assertThat(outcome.out()).startsWith("Usage: baton " + verb).contains("--coordinator");
    assertThat(baton.run("--help").out()).contains("\n  " + verb.replaceFirst(" .*", "") + " ");
  }

  @Test
  void version() {
    assertThat(baton.run("--version").out()).startsWith("baton ");
  }

  @Test
  void flagsWinOverEnvironmentOverFile() throws IOException {
    Path config = Files.createDirectories(dir.resolve(".config/baton"));
    Files.writeString(config.resolve("config.yaml"), "coordinator: 127.0.0.1:1\ntoken_file: tok\n");
    Files.writeString(config.resolve("tok"), "file-token\n");
    baton.environment.remove("BATON_TOKEN");
    baton.run("jobs");
    baton.environment.put("BATON_COORDINATOR", "127.0.0.1:2");
    baton.environment.put("BATON_TOKEN", "env-token");
    baton.run("jobs");
    baton.run("jobs", "--coordinator", "127.0.0.1:3", "--token", "flag-token");
    baton.run(
        "--coordinator", "127.0.0.1:4", "--token-file", config.resolve("tok").toString(), "jobs");
    Path xdg = Files.createDirectories(dir.resolve("xdg/baton"));
    Files.writeString(xdg.resolve("config.yaml"), "token: xdg-token");
    baton.environment.put("XDG_CONFIG_HOME", dir.resolve("xdg").toString());
    baton.environment.remove("BATON_TOKEN");
    baton.environment.remove("BATON_COORDINATOR");
    baton.run("jobs");
    assertThat(baton.connections)
        .containsExactly(
            "127.0.0.1:1 plain file-token",
            "127.0.0.1:2 plain env-token",
            "127.0.0.1:3 plain flag-token",
            "127.0.0.1:4 plain file-token",
            "127.0.0.1:7070 plain xdg-token");
  }

  @Test
  void aWholeTokenSaysWhereAndByWhichKey() {
    String key = "A".repeat(43);
    baton.environment.put("BATON_TOKEN", "env-token." + key + ".far.example:1");
    baton.run("jobs");
    baton.run("jobs", "--coordinator", "near.example:2");
    baton.run("jobs", "--token", "flag-token.ca.other.example:3");
    baton.run("jobs", "--token", "bare", "--coordinator", "far.example:4", "--insecure");
    assertThat(baton.connections)
        .containsExactly(
            "far.example:1 " + key + " env-token",
            "near.example:2 " + key + " env-token",
            "other.example:3 ca flag-token",
            "far.example:4 plain bare");
    Outcome bare = baton.run("jobs", "--token", "bare", "--coordinator", "far.example:4");
    assertThat(bare.code()).isEqualTo(2);
    assertThat(bare.err()).startsWith("error: the token names no key").hasLineCount(1);
    Outcome torn = baton.run("jobs", "--token", "bare." + key);
    assertThat(torn.code()).isEqualTo(2);
    assertThat(torn.err()).startsWith("error: the token is damaged").hasLineCount(1);
  }

  @Test
  void theLineToPasteIsOfTheTokensCoordinator() {
    String key = "A".repeat(42) + "E";
    baton.coordinator.origin = "." + key + ".far.example:7070";
    baton.coordinator.httpUrl = "https://far.example:7071";
    List<String> lines = baton.run("token", "create", "--role", "worker").out().lines().toList();
    String token = lines.get(lines.size() - 1);
    assertThat(token).startsWith("secret-").endsWith(baton.coordinator.origin);
    String pasted =
        "curl -fsSLk --pinnedpubkey sha256//"
            + "A".repeat(42)
            + "E= https://far.example:7071/join | sh -s -- "
            + token;
    assertThat(lines).contains(pasted);
    assertThat(
            baton
                .run("token", "create", "--role", "worker", "-o", "json")
                .json()
                .get("join")
                .asText())
        .isEqualTo(pasted);
    assertThat(baton.run("token", "create", "--role", "user").out())
        .as("a user's token alone")
        .hasLineCount(1);
    baton.coordinator.origin = ".ca.[fd00::1]:7070";
    baton.coordinator.httpUrl = "https://[fd00::1]:7071";
    assertThat(baton.run("token", "create", "--role", "worker").out())
        .contains("\ncurl -fsSL 'https://[fd00::1]:7071/join' | sh -s -- 'secret-");
  }

  @Test
  void badSettings() throws IOException {
    assertThat(baton.run("jobs", "--token", "a", "--token-file", "b").err())
        .isEqualTo("error: --token and --token-file exclude each other; give one\n");
    assertThat(baton.run("jobs", "--token-file", dir + "/none"))
        .isEqualTo(
            new Outcome(
                2,
                "",
                "error: cannot read the token file " + dir + "/none: no such file or folder\n"));
    Path binary = Files.write(dir.resolve("binary"), new byte[] {(byte) 0xff, 0, (byte) 0xfe});
    assertThat(baton.run("jobs", "--token-file", binary.toString()))
        .isEqualTo(
            new Outcome(2, "", "error: cannot read the token file " + binary + ": is not text\n"));
    assertThat(baton.run("jobs", "--coordinator", "nowhere").err())
        .startsWith("error: the coordinator's address 'nowhere': the port is missing");
    Path config = Files.createDirectories(dir.resolve(".config/baton")).resolve("config.yaml");
    Files.writeString(config, "cordinator: a:1\n");
    assertThat(baton.run("jobs"))
        .isEqualTo(
            new Outcome(
                2,
                "",
                "error: " + config + ":1: cordinator: unknown key; did you mean coordinator?\n"));
    Files.writeString(config, "");
    baton.environment.remove("BATON_TOKEN");
    Outcome outcome = baton.run("jobs");
    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err()).startsWith("error: no token: give --token-file FILE").hasLineCount(1);
  }

  @Test
  void refusals() {
    assertThat(baton.run("jobs", "--token", "bad"))
        .isEqualTo(
            new Outcome(
                1,
                "",
                "error: the coordinator at 127.0.0.1:7070 refused the token: unknown token\n"));
    baton.coordinator.failures.add(Status.PERMISSION_DENIED.withDescription("role worker"));
    assertThat(baton.run("jobs").err())
        .isEqualTo("error: the token's role does not allow this: role worker\n");
    baton.coordinator.failures.add(Status.INTERNAL);
    assertThat(baton.run("jobs")).isEqualTo(new Outcome(1, "", "error: INTERNAL\n"));
    baton.coordinator.failures.add(Status.DEADLINE_EXCEEDED);
    assertThat(baton.run("jobs").code()).isEqualTo(5);
    baton.coordinator.stop();
    assertThat(baton.run("jobs").code()).isEqualTo(5);
    assertThat(baton.run("wait", "j1").code()).isEqualTo(5);
    assertThat(baton.time.passed()).isZero();
  }

  @ParameterizedTest
  @ValueSource(strings = {"--help", "jobs", "jobs --help", "--version"})
  void whoeverHasReadEnoughIsNoErrorAndAFullDiskIs(String args) {
    baton.outFailure = "Broken pipe";
    assertThat(baton.run(args.split(" "))).isEqualTo(new Outcome(0, "", ""));
    baton.outFailure = "No space left on device";
    assertThat(baton.run(args.split(" ")))
        .isEqualTo(
            new Outcome(1, "", "error: writing to standard output: No space left on device\n"));
  }

  @Test
  void aBugOfOursIsOneLineAndATraceInAFile() throws IOException {
    baton.bug = new IllegalStateException("seven\nlines");
    Path log = dir.resolve(".local/state/baton/client.log");
    assertThat(baton.run("jobs"))
        .isEqualTo(
            new Outcome(
                1,
                "",
                "error: unexpected: java.lang.IllegalStateException: seven lines"
                    + " (a bug; its trace is in "
                    + log
                    + ")\n"));
    assertThat(log).content().contains("\tat dev.baton.client.");
    assertThat(baton.run("jobs", "--debug").err()).contains("\tat dev.baton.client.");
  }
}
