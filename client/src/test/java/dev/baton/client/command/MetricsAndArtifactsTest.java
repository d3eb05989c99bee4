package dev.baton.client.command;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import dev.baton.client.testing.Harness;
import dev.baton.client.testing.Harness.Outcome;
import dev.baton.client.testing.ManualTime;
import dev.baton.v1.Artifact;
import dev.baton.v1.MetricPoint;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a job leaves: {@code baton metrics} and {@code artifacts}. */
class MetricsAndArtifactsTest {
  private static final long NOW = ManualTime.START_MILLIS;

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
}
