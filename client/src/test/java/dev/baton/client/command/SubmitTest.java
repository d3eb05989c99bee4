package dev.baton.client.command;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.client.testing.Harness;
import dev.baton.client.testing.Harness.Outcome;
import io.grpc.Status;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code baton submit}. */
class SubmitTest {
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

  private Path write(String name, String content) throws IOException {
    return Files.writeString(dir.resolve(name), content);
  }

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
}
