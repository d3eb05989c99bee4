package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What comes out of training: accuracies that the pictures allow, and results that Python takes.
 */
class TrainingIT {
  private static final Duration LIMIT = Duration.ofMinutes(10);

  @TempDir Path dir;
  private LocalCluster cluster;

  @BeforeEach
  void start() throws Exception {
    cluster = LocalCluster.start(dir.resolve("cluster"));
    cluster.startWorker("worker");
  }

  @AfterEach
  void stop() {
    cluster.close();
  }

  private void push(String name, Path path, String format) throws Exception {
    cluster.baton("dataset", "push", name, path.toString(), "--format", format).orFail();
  }

  private JsonNode train(String yaml) throws Exception {
    JsonNode end = cluster.await(cluster.submit(yaml), LIMIT);
    assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
    return end;
  }

  private static double accuracy(JsonNode job) {
    return job.at("/result/metrics/accuracy").asDouble();
  }

  private static String digits(String model, int epochs) {
    return """
        name: digits
        model: {builtin: {name: %s, num_classes: 10}}
        data:
          train: {dataset: digits}
          eval: {dataset: digits}
        training:
          epochs: %d
          batch_size: 64
          optimizer: {adam: {lr: 0.003}}
          loss: cross_entropy
          seed: 1
        """
        .formatted(model, epochs);
  }

  @Test
  void drawnDigitsNeedMoreThanALinearModelAndPythonTakesTheResult() throws Exception {
    DrawDigits.write(dir.resolve("digits"), 6_000, 1_000, 1);
    push("digits", dir.resolve("digits"), "idx");
    JsonNode linear = train(digits("linear", 6));
    JsonNode cnn = train(digits("mnist-cnn", 6));
    assertThat(accuracy(cnn)).isGreaterThan(0.85).isGreaterThan(accuracy(linear) + 0.1);

    String job = cnn.get("id").asText();
    Path results = Files.createDirectories(dir.resolve("results"));
    String names = cluster.baton("artifacts", "ls", job).orFail();
    for (String name :
        new String[] {"model.safetensors", "model.pth", "model.py", "metrics.csv", "train.log"}) {
      assertThat(names).contains(name);
      cluster.baton("artifacts", "get", job, name, "-O", results.resolve(name).toString()).orFail();
    }
    assertThat(Safetensors.read(results.resolve("model.safetensors")).sha256())
        .isEqualTo(cnn.at("/result/weights_sha256").asText());
    assertThat(Files.readString(results.resolve("metrics.csv"))).contains("eval/accuracy");
    assertThat(Files.readString(results.resolve("train.log"))).contains("accuracy");
    assertThat(cnn.at("/result/metrics").toString()).contains("class_accuracy/");
    pythonLoads(results);
  }

  private void pythonLoads(Path results) throws Exception {
    assumeTrue(
        new ProcessBuilder("/usr/bin/python3", "-c", "import torch").start().waitFor() == 0,
        "Python's PyTorch is not installed");
    Process python =
        new ProcessBuilder(
                "/usr/bin/python3",
                "-c",
                """
                import torch
                scope = {"__name__": "model"}
                exec(open("model.py").read(), scope)
                net = scope["net"]
                print(net.load_state_dict(torch.load("model.pth", weights_only=True), strict=True))
                net.eval()
                print(tuple(net(torch.zeros(2, 1, 28, 28)).shape))
                """)
            .directory(results.toFile())
            .redirectErrorStream(true)
            .start();
    String out = new String(python.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(python.waitFor()).as(out).isZero();
    assertThat(out).contains("All keys matched").contains("(2, 10)");
  }

  private static Path realData(String name) {
    Path data = LocalCluster.root().resolve("../shared/data").resolve(name);
    assumeTrue(Files.exists(data), name + " is not here");
    return data;
  }

  @Test
  void mnistReachesWhatPythonReaches() throws Exception {
    push("mnist", realData("mnist"), "idx");
    JsonNode end =
        train(
            """
            name: mnist
            model: {builtin: {name: mnist-cnn, num_classes: 10}}
            data:
              train: {dataset: mnist, split: train}
              eval: {dataset: mnist, split: test}
            training:
              epochs: 1
              batch_size: 128
              optimizer: {adam: {lr: 0.005}}
              loss: cross_entropy
              seed: 1
            """);
    assertThat(accuracy(end)).isGreaterThanOrEqualTo(0.97);
  }

  @Test
  void cifarReachesWhatPythonReaches() throws Exception {
    push("cifar10", realData("cifar-10-images.tar"), "image-folder");
    JsonNode end =
        train(
            """
            name: cifar-lenet
            model: {builtin: {name: lenet, num_classes: 10}}
            data:
              train: {dataset: cifar10, split: train}
              eval: {dataset: cifar10, split: test}
              transforms: [{normalize: {mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}]
            training:
              epochs: 2
              batch_size: 4
              optimizer: {sgd: {lr: 0.001, momentum: 0.9}}
              loss: cross_entropy
              seed: 1
            """);
    assertThat(accuracy(end)).isGreaterThanOrEqualTo(0.50);
  }
}
