package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The commands that need no cluster, through the launcher. */
class CommandsIT {
  @TempDir Path dir;

  private JsonNode json(String... args) throws Exception {
    Path err = dir.resolve("err");
    List<String> command =
        new ArrayList<>(List.of(LocalCluster.root().resolve("deploy/bin/baton").toString()));
    command.addAll(List.of(args));
    Process process = new ProcessBuilder(command).redirectError(err.toFile()).start();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(out + Files.readString(err)).isZero();
    assertThat(out.strip().lines()).as(out).hasSize(1);
    return LocalCluster.JSON.readTree(out);
  }

  @ParameterizedTest
  @ValueSource(strings = {"linreg", "lenet-cifar", "mnist-cnn", "resnet18"})
  void benchTrainPrintsItsLine(String workload) throws Exception {
    DrawDigits.write(dir.resolve("mnist"), 1_000, 200, 1);
    JsonNode line =
        json("bench", "train", "--workload", workload, "--steps", "2", "--data", dir.toString());
    assertThat(line.get("workload").asText()).isEqualTo(workload);
    assertThat(line.get("device").asText()).isEqualTo("cpu");
    assertThat(line.get("precision").asText()).isEqualTo("fp32");
    assertThat(line.get("threads").asInt()).isEqualTo(1);
    assertThat(line.get("steps").asInt()).isEqualTo(2);
    assertThat(line.get("us_per_step").asDouble()).isPositive();
    assertThat(line.get("loss").asDouble()).isPositive();
    assertThat(line.get("torch").asText()).startsWith("2.");
    assertThat(line.has("seconds")).isTrue();
  }

  @Test
  void machineReportsWithoutAGpuToo() throws Exception {
    JsonNode line = json("machine", "-o", "json");
    assertThat(line.toString()).contains("libtorch", "gpus", "2.10.0");
  }

  @Test
  void benchCollectivesFindsThemRight() throws Exception {
    JsonNode line = json("bench", "collectives", "--replicas", "3");
    assertThat(line.get("backend").asText()).isEqualTo("gloo");
    for (String tried : List.of("all_to_all", "all_gather", "broadcast", "abort")) {
      assertThat(line.get(tried).asBoolean()).as(tried).isTrue();
    }
  }

  @Test
  void benchCoordinatorPrintsItsLine() throws Exception {
    JsonNode line =
        json("bench", "coordinator", "--workers", "20", "--jobs", "200", "--seconds", "2");
    for (String key :
        List.of(
            "submits_per_second",
            "jobs_per_second",
            "heartbeats_per_second",
            "heartbeat_p99_ms",
            "lease_p50_ms",
            "rss_mib")) {
      assertThat(line.get(key).asDouble()).as(key).isPositive();
    }
    assertThat(line.get("store").asText()).isEqualTo("sqlite");
  }

  @Test
  void gpuCheckSaysThatThereIsNone() throws Exception {
    assumeFalse(Files.exists(Path.of("/dev/nvidia0")), "there is a GPU here");
    Process process =
        new ProcessBuilder(LocalCluster.root().resolve("deploy/gpu-check").toString())
            .redirectErrorStream(true)
            .start();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).isEqualTo(3);
    assertThat(out.lines()).hasSize(1);
    assertThat(out).contains("no NVIDIA GPU");
  }
}
