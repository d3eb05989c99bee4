package dev.baton.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * {@code baton bench train} on the device, in turns with the same work in Python's PyTorch where
 * that is installed and sees the device.
 */
final class GpuBenches {
  /** Medians are of so many runs of each side. */
  private static final int ROUNDS = 3;

  private static final List<String> WORKLOADS =
      List.of("linreg", "lenet-cifar", "mnist-cnn", "resnet18");

  private final GpuCheck.Options options;
  private final Path data;
  private final GpuMemory memory;
  private final Path peer;
  private final @Nullable String python;

  /** A measurement. */
  record Work(String workload, String precision) {}

  /**
   * @param data a folder with {@code mnist/} in it
   */
  GpuBenches(GpuCheck.Options options, Path data, GpuMemory memory)
      throws IOException, InterruptedException {
    this.options = options;
    this.data = data;
    this.memory = memory;
    this.peer = Files.createTempFile("torch-peer", ".py");
    try (InputStream in = GpuBenches.class.getResourceAsStream("torch_peer.py")) {
      Files.write(peer, Objects.requireNonNull(in).readAllBytes());
    }
    this.python = findPython(options.cuda());
  }

  /** A Python whose PyTorch sees the device; null where there is none. */
  private static @Nullable String findPython(boolean cuda)
      throws IOException, InterruptedException {
    String test = "import torch, sys; sys.exit(0 if %s else 1)";
    String sees = cuda ? "torch.cuda.is_available()" : "True";
    for (String candidate : List.of("python3", "/usr/bin/python3", "/opt/conda/bin/python3")) {
      try {
        Process process =
            new ProcessBuilder(candidate, "-c", test.formatted(sees))
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .start();
        if (process.waitFor() == 0) {
          return candidate;
        }
      } catch (IOException e) {
        // No such Python: the next.
      }
    }
    return null;
  }

  /** {@code baton machine}'s report. */
  JsonNode machine() throws IOException, InterruptedException {
    return LocalCluster.JSON.readTree(run(Map.of(), baton("machine", "-o", "json")));
  }

  /** The Python that is compared with; null where there is none. */
  JsonNode python() {
    return LocalCluster.JSON.valueToTree(python);
  }

  /** Everything that is measured; not what takes a CPU minutes where the check tries itself. */
  List<Work> works() {
    return Stream.of("fp32", "bf16")
        .filter(precision -> options.cuda() || precision.equals("fp32"))
        .flatMap(precision -> WORKLOADS.stream().map(w -> new Work(w, precision)))
        .filter(work -> !options.quick() || !work.workload().equals("resnet18"))
        .toList();
  }

  /** Medians of both sides, their ratio, and the loss and peak memory of ours. */
  ObjectNode measure(Work work) throws IOException, InterruptedException {
    List<Double> ours = new ArrayList<>();
    List<Double> theirs = new ArrayList<>();
    double loss = 0;
    memory.restart();
    long before = memory.now().orElse(0);
    long peak = 0;
    for (int round = 0; round < (options.quick() ? 1 : ROUNDS); round++) {
      memory.restart();
      JsonNode line = train(work, Map.of());
      peak = Math.max(peak, memory.peak().orElse(0) - before);
      ours.add(line.get("us_per_step").asDouble());
      loss = line.get("loss").asDouble();
      if (python != null) {
        theirs.add(peer(work).get("us_per_step").asDouble());
      }
    }
    ObjectNode line = LocalCluster.JSON.createObjectNode();
    line.put("workload", work.workload());
    line.put("precision", work.precision());
    line.put("us_per_step", median(ours));
    if (!theirs.isEmpty()) {
      line.put("python_us_per_step", median(theirs));
      line.put("ratio", median(ours) / median(theirs));
    }
    line.put("loss", loss);
    if (memory.peak().isPresent()) {
      line.put("peak_mib", peak);
    }
    return line;
  }

  /** mnist-cnn with samples that the device holds, and with samples that are sent each step. */
  ObjectNode samplesOnHost() throws IOException, InterruptedException {
    Work work = new Work("mnist-cnn", "fp32");
    JsonNode held = train(work, Map.of());
    JsonNode sent = train(work, Map.of("BATON_SAMPLES_ON_HOST", "1"));
    ObjectNode line = LocalCluster.JSON.createObjectNode();
    line.put("us_per_step", sent.get("us_per_step").asDouble());
    line.put("held_us_per_step", held.get("us_per_step").asDouble());
    line.put(
        "same",
        sent.get("loss").equals(held.get("loss"))
            && sent.get("accuracy").equals(held.get("accuracy")));
    return line;
  }

  /** {@code bench collectives} on the device: over NCCL as many replicas as there are GPUs. */
  JsonNode collectives() throws IOException, InterruptedException {
    return LocalCluster.JSON.readTree(
        run(Map.of(), baton("bench", "collectives", "--device", options.device())));
  }

  /** LeNet in four shards on 1, 2 and 4 replicas, which share a GPU where there is one. */
  ObjectNode replicas() throws IOException, InterruptedException {
    ObjectNode line = LocalCluster.JSON.createObjectNode();
    List<String> weights = new ArrayList<>();
    for (int replicas : new int[] {1, 2, 4}) {
      JsonNode run =
          LocalCluster.JSON.readTree(
              run(
                  Map.of(),
                  baton(
                      "bench",
                      "train",
                      "--workload",
                      "lenet-cifar",
                      "--device",
                      options.device(),
                      "--shards",
                      "4",
                      "--replicas",
                      Integer.toString(replicas),
                      "--steps",
                      options.quick() ? "20" : "500")));
      line.put("us_per_step_" + replicas, run.get("us_per_step").asDouble());
      weights.add(run.get("weights_sha256").asText());
    }
    line.put("weights_sha256", weights.get(0));
    line.put("same_weights", weights.stream().distinct().count() == 1);
    return line;
  }

  private JsonNode train(Work work, Map<String, String> environment)
      throws IOException, InterruptedException {
    List<String> command =
        new ArrayList<>(
            baton(
                "bench",
                "train",
                "--workload",
                work.workload(),
                "--precision",
                work.precision(),
                "--device",
                options.device()));
    int steps = steps(work.workload());
    if (steps > 0) {
      command.addAll(List.of("--steps", Integer.toString(steps)));
    }
    if (work.workload().equals("mnist-cnn")) {
      command.addAll(List.of("--data", data.toString()));
    }
    return LocalCluster.JSON.readTree(run(environment, command));
  }

  private JsonNode peer(Work work) throws IOException, InterruptedException {
    return LocalCluster.JSON.readTree(
        run(
            Map.of(),
            List.of(
                Objects.requireNonNull(python),
                peer.toString(),
                work.workload(),
                options.device(),
                work.precision(),
                Integer.toString(steps(work.workload())),
                data.toString())));
  }

  /** To measure; 0 for the workload's own number. */
  private int steps(String workload) {
    if (options.quick()) {
      return 10;
    }
    return workload.equals("resnet18") ? 50 : 0;
  }

  private static List<String> baton(String... args) {
    return Stream.concat(
            Stream.of(LocalCluster.root().resolve("deploy/bin/baton").toString()), Stream.of(args))
        .toList();
  }

  /** What a command prints. */
  private static String run(Map<String, String> environment, List<String> command)
      throws IOException, InterruptedException {
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT);
    builder.environment().putAll(environment);
    Process process = builder.start();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    if (process.waitFor() != 0) {
      throw new IOException(String.join(" ", command) + ": exit " + process.exitValue());
    }
    return out;
  }

  private static double median(List<Double> values) {
    return values.stream().sorted().toList().get(values.size() / 2);
  }
}
