package dev.baton.worker.bench;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;

class BenchCommandsTest {
  @TempDir Path dir;

  private record Answer(int exit, String out, String err) {}

  private static Answer run(Object command, String... args) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    CommandLine line = new CommandLine(command);
    line.setOut(new PrintWriter(out)).setErr(new PrintWriter(err));
    line.setParameterExceptionHandler(
        (e, ignored) -> {
          e.getCommandLine().getErr().println(e.getMessage());
          return CommandLine.ExitCode.USAGE;
        });
    int exit = line.execute(args);
    return new Answer(exit, out.toString(), err.toString());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--workload vgg | linreg, lenet-cifar, mnist-cnn, resnet18",
        "--workload linreg --precision fp64 | fp32, bf16",
        "--workload linreg --device tpu | cpu, cuda",
        "--workload linreg --threads 0 | at least 1",
        "--workload linreg --replicas 0 | at least 1",
        "--workload linreg --replicas 3 --shards 2 | at least --replicas",
        "--workload mnist-cnn | --data DIR",
        "--workload mnist-cnn --data /nowhere | /nowhere/mnist is no folder"
      })
  void wrongUsageIsOneLine(String args, String expected) {
    Answer answer = run(new BenchTrainCommand(), args.strip().split(" "));
    assertThat(answer.exit).isEqualTo(2);
    assertThat(answer.err.lines()).hasSize(1);
    assertThat(answer.err).contains(expected.strip());
  }

  @Test
  void machine() throws Exception {
    Answer answer = run(new MachineCommand(), "-o", "json");
    assertThat(answer.exit).isZero();
    JsonNode machine = new ObjectMapper().readTree(answer.out);
    assertThat(machine.path("cpus").asInt()).isPositive();
    assertThat(machine.path("libtorch").asText()).startsWith("2.");
    assertThat(machine.path("gpus").isArray()).isTrue();
    assertThat(run(new MachineCommand()).out).contains("libtorch");
  }

  /** The line that a command prints as a process, since it starts itself again. */
  private JsonNode measured(String... args) throws Exception {
    List<String> line =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                "dev.baton.worker.Main"));
    line.addAll(List.of(args));
    Path err = dir.resolve("err");
    Process process = new ProcessBuilder(line).redirectError(err.toFile()).start();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as("%s; see %s", out, err).isZero();
    return new ObjectMapper().readTree(out);
  }

  @Test
  void measuresReplicas() throws Exception {
    String[] train = "bench train --workload lenet-cifar --steps 20 --replicas 2".split(" ", -1);
    JsonNode exact = measured(train);
    assertThat(exact.path("replicas").asInt()).isEqualTo(2);
    assertThat(exact.path("steps").asInt()).isEqualTo(20);
    assertThat(exact.path("us_per_step").asDouble()).isPositive();
    assertThat(exact.path("loss").asDouble()).isBetween(1.5, 3.5);
    JsonNode sum = measured("bench", "allreduce", "--floats", "1000", "--replicas", "3");
    assertThat(sum.path("floats").asInt()).isEqualTo(1000);
    assertThat(sum.path("replicas").asInt()).isEqualTo(3);
    assertThat(sum.path("us_per_allreduce").asDouble()).isPositive();
    assertThat(sum.path("median").asDouble()).isPositive();
  }

  @Test
  void measuresInATrainersEnvironment() throws Exception {
    JsonNode answer = measured("bench", "train", "--workload", "lenet-cifar", "--steps", "20");
    assertThat(answer.fieldNames())
        .toIterable()
        .containsExactly(
            "workload",
            "torch",
            "device",
            "precision",
            "threads",
            "steps",
            "seconds",
            "us_per_step",
            "loss");
    assertThat(answer.path("steps").asInt()).isEqualTo(20);
    assertThat(answer.path("us_per_step").asDouble()).isPositive();
    assertThat(answer.path("loss").asDouble()).isBetween(1.5, 3.5);
  }
}
