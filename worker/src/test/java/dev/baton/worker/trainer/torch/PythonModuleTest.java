package dev.baton.worker.trainer.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.baton.worker.trainer.Engine;
import dev.baton.worker.trainer.TensorInfo;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The module that a job leaves as Python source has the state dict that its weights have. */
class PythonModuleTest {
  private static final TorchEngines ENGINES = TorchEngines.load();
  private static final String PYTHON = "/usr/bin/python3";
  private static final String LIST_STATE =
      """

      import json, torch
      net.eval()(torch.zeros(2, %s))
      print(json.dumps([[k, str(v.dtype), list(v.shape)] for k, v in net.state_dict().items()]))
      """;

  @TempDir Path dir;

  @ParameterizedTest
  @CsvSource({
    "linear, 1, 14",
    "lenet, 3, 32",
    "mnist-cnn, 1, 28",
    "resnet18-d2l, 2, 48",
    "resnet18, 3, 40"
  })
  void sameStateDict(String model, int channels, int size) throws Exception {
    assumeTrue(run("import torch").exit == 0, "Python has no torch here");
    Pictures pictures = new Pictures(channels, size);
    try (Engine engine =
        ENGINES.create(Jobs.of(model, Jobs.sgd(0.1, 0), 4, 1), pictures.format(), "cpu")) {
      Answer answer =
          run(engine.pythonModule() + LIST_STATE.formatted(channels + ", " + size + ", " + size));
      assertThat(answer.exit).as(answer.output).isZero();
      List<String> python = new ArrayList<>();
      for (JsonNode entry : new ObjectMapper().readTree(answer.output)) {
        python.add(entry.path(0).asText() + entry.path(1).asText() + entry.path(2));
      }
      List<String> ours =
          engine.layout().stream()
              .filter(TensorInfo::inStateDict)
              .map(
                  info ->
                      info.name()
                          + switch (info.dtype()) {
                            case FLOAT32 -> "torch.float32";
                            case INT64 -> "torch.int64";
                            default -> "?";
                          }
                          + info.shape().toString().replace(" ", ""))
              .toList();
      assertThat(ours).isEqualTo(python);
      assertThat(engine.pythonModule().lines().count()).isLessThan(40);
    }
  }

  private record Answer(int exit, String output) {}

  private Answer run(String program) throws IOException, InterruptedException {
    if (!Files.isExecutable(Path.of(PYTHON))) {
      return new Answer(-1, "");
    }
    Path file = Files.writeString(dir.resolve("net.py"), program);
    Process process = new ProcessBuilder(PYTHON, file.toString()).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    return new Answer(process.exitValue(), output);
  }
}
