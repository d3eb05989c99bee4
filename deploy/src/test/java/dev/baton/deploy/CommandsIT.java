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

  private static ProcessBuilder baton(String... args) {
    List<String> command =
        new ArrayList<>(List.of(LocalCluster.root().resolve("deploy/bin/baton").toString()));
    command.addAll(List.of(args));
    return new ProcessBuilder(command);
  }

  /** What a command prints that must succeed. */
  private String said(ProcessBuilder command) throws Exception {
    Path err = dir.resolve("err");
    Process process = command.redirectError(err.toFile()).start();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(out + Files.readString(err)).isZero();
    return out;
  }

  private JsonNode json(ProcessBuilder command) throws Exception {
    String out = said(command);
    assertThat(out.strip().lines()).as(out).hasSize(1);
    return LocalCluster.JSON.readTree(out);
  }

  private JsonNode json(String... args) throws Exception {
    return json(baton(args));
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
    assumeFalse(Files.exists(Path.of("/dev/nvidia0")), "there is a GPU here");
    JsonNode line = json("machine", "-o", "json");
    assertThat(line.get("libtorch").asText()).startsWith("2.10.0");
    assertThat(line.get("cpus").asInt()).isEqualTo(Runtime.getRuntime().availableProcessors());
    assertThat(line.get("memory_bytes").asLong()).isGreaterThan(1L << 30);
    assertThat(line.get("gpus")).isEmpty();
    assertThat(line.get("cuda_libraries")).isEmpty();
    assertThat(line.get("gpu_problem").isNull()).isTrue();
    assertThat(line.get("problem").isNull()).as("%s", line).isTrue();
    assertThat(line.at("/matrix_products/0/device").asText()).isEqualTo("cpu");
    assertThat(line.at("/matrix_products/0/gflops").asDouble()).isPositive();
    assertThat(line.get("matrix_products")).hasSize(1);
  }

  @Test
  void machineReportsTheGpusThatTheDriverLists() throws Exception {
    Path smi = dir.resolve("nvidia-smi");
    Files.writeString(
        smi,
        """
        #!/bin/sh
        case "$*" in
          *--id=1*) ;;
          *) echo '0, NVIDIA A100-SXM4-40GB, 40960, 8.0, 580.65.06' ;;
        esac
        echo '1, Tesla T4, 15360, 7.5, 580.65.06'
        """);
    assertThat(smi.toFile().setExecutable(true)).isTrue();
    ProcessBuilder machine = baton("machine");
    machine.environment().merge("PATH", dir.toString(), (old, first) -> first + ":" + old);
    machine.environment().remove("CUDA_VISIBLE_DEVICES");
    assertThat(said(machine))
        .contains("NVIDIA A100-SXM4-40GB, 40.0 GiB, compute capability 8.0, driver 580.65.06\n")
        .contains("gpu 1     Tesla T4, 15.0 GiB, compute capability 7.5, driver 580.65.06\n");
    machine.environment().put("CUDA_VISIBLE_DEVICES", "1");
    assertThat(said(machine)).contains("Tesla T4").doesNotContain("A100");
    machine.environment().put("CUDA_VISIBLE_DEVICES", "");
    assertThat(said(machine)).contains("gpus      none\n");
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

  @Test
  void gpuCheckItselfIsTriedOnACpu() throws Exception {
    JsonNode report =
        json(
            new ProcessBuilder(
                LocalCluster.root().resolve("deploy/gpu-check").toString(),
                "--device",
                "cpu",
                "--quick",
                "--only",
                "replicas"));
    assertThat(report.get("failures")).isEmpty();
    assertThat(report.at("/machine/libtorch").asText()).startsWith("2.10.0");
    assertThat(report.at("/collectives/all_to_all").asBoolean()).isTrue();
    assertThat(report.at("/replicas/same_weights").asBoolean()).isTrue();
    assertThat(report.at("/replicas/weights_sha256").asText()).hasSize(64);
  }
}
