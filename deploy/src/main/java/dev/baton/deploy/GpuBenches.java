package dev.baton.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * {@code baton bench train} on the device, in turns with the same work in Python's PyTorch where
 * that is installed and sees the device.
 */
final class GpuBenches {
  /** Medians are of so many runs of each side. */
  private static final int ROUNDS = 3;

  /** For one run of one side. */
  private static final int LIMIT_MINUTES = 10;

  private static final List<String> WORKLOADS =
      List.of("linreg", "lenet-cifar", "mnist-cnn", "resnet18");

  private final GpuCheck.Options options;
  private final Path data;
  private final GpuMemory memory;
  private final Path peer;
  private final @Nullable Python python;

  /**
   * A Python to compare with.
   *
   * @param ownLibraries whether LD_LIBRARY_PATH is kept from it
   */
  private record Python(String command, boolean ownLibraries) {
    ProcessBuilder process(String... arguments) {
      List<String> line = new ArrayList<>(List.of(command));
      line.addAll(List.of(arguments));
      ProcessBuilder builder = new ProcessBuilder(line);
      if (ownLibraries) {
        builder.environment().remove("LD_LIBRARY_PATH");
      }
      return builder;
    }
  }

  /** A measurement. */
  record Work(String workload, String precision) {}

  /**
   * @param data a folder with {@code mnist/} in it
   * @param dir for what it writes
   */
  GpuBenches(GpuCheck.Options options, Path data, Path dir, GpuMemory memory)
      throws IOException, InterruptedException {
    this.options = options;
    this.data = data;
    this.memory = memory;
    this.peer = dir.resolve("torch_peer.py");
    try (InputStream in = GpuBenches.class.getResourceAsStream("torch_peer.py")) {
      Files.write(peer, Objects.requireNonNull(in).readAllBytes());
    }
    this.python = findPython(options.cuda());
  }

  /**
   * A Python whose PyTorch sees the device; null where there is none. Where CUDA's libraries are
   * named in the environment, ours may be among them, which are not what that PyTorch was built
   * with.
   */
  private static @Nullable Python findPython(boolean cuda) throws InterruptedException {
    String test = "import torch, sys; sys.exit(0 if %s else 1)";
    String sees = cuda ? "torch.cuda.is_available()" : "True";
    for (String candidate : List.of("python3", "/usr/bin/python3", "/opt/conda/bin/python3")) {
      for (boolean without : new boolean[] {true, false}) {
        Python python = new Python(candidate, without);
        try {
          Process process =
              python
                  .process("-c", test.formatted(sees))
                  .redirectErrorStream(true)
                  .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                  .start();
          if (process.waitFor() == 0) {
            return python;
          }
        } catch (IOException e) {
          // No such Python: the next.
        }
      }
    }
    return null;
  }

  /** {@code baton machine}'s report. */
  JsonNode machine() throws IOException, InterruptedException {
    return run(baton("machine", "-o", "json"));
  }

  /** The Python that is compared with; null where there is none. */
  JsonNode python() {
    return LocalCluster.JSON.valueToTree(python == null ? null : python.command());
  }

  /** Everything that is measured; not what takes a CPU minutes where the check tries itself. */
  List<Work> works() {
    return Stream.of("fp32", "bf16")
        .filter(precision -> options.cuda() || precision.equals("fp32"))
        .flatMap(precision -> WORKLOADS.stream().map(w -> new Work(w, precision)))
        .filter(work -> !options.quick() || !work.workload().equals("resnet18"))
        .toList();
  }

  /** Medians of both sides, their ratio, both sides' peak memory, and our loss. */
  ObjectNode measure(Work work) throws IOException, InterruptedException {
    List<Double> ours = new ArrayList<>();
    List<Double> theirs = new ArrayList<>();
    long ourPeak = 0;
    long theirPeak = 0;
    double loss = 0;
    for (int round = 0; round < (options.quick() ? 1 : ROUNDS); round++) {
      awaitFreed();
      JsonNode line = train(work, Map.of());
      ourPeak = Math.max(ourPeak, memory.peak());
      ours.add(line.get("us_per_step").asDouble());
      loss = line.get("loss").asDouble();
      if (python != null) {
        awaitFreed();
        theirs.add(peer(work).get("us_per_step").asDouble());
        theirPeak = Math.max(theirPeak, memory.peak());
      }
    }
    ObjectNode line = LocalCluster.JSON.createObjectNode();
    line.put("workload", work.workload());
    line.put("precision", work.precision());
    line.put("us_per_step", median(ours));
    line.put("loss", loss);
    if (memory.isKnown()) {
      line.put("peak_mib", ourPeak);
    }
    if (!theirs.isEmpty()) {
      line.put("python_us_per_step", median(theirs));
      line.put("ratio", median(ours) / median(theirs));
      if (memory.isKnown()) {
        line.put("python_peak_mib", theirPeak);
      }
    }
    return line;
  }

  /** The driver's figure is a fifth of a second old at most. */
  private void awaitFreed() throws InterruptedException {
    if (memory.isKnown()) {
      Thread.sleep(500);
      memory.restart();
    }
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
    return run(baton("bench", "collectives", "--device", options.device()));
  }

  /** LeNet in four shards on 1, 2 and 4 replicas, which share a GPU where there is one. */
  ObjectNode replicas() throws IOException, InterruptedException {
    ObjectNode line = LocalCluster.JSON.createObjectNode();
    List<String> weights = new ArrayList<>();
    for (int replicas : new int[] {1, 2, 4}) {
      JsonNode run =
          run(
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
                  options.quick() ? "20" : "500"));
      line.put("us_per_step_" + replicas, run.get("us_per_step").asDouble());
      weights.add(run.get("weights_sha256").asText());
    }
    line.put("weights_sha256", weights.get(0));
    line.put("same_weights", weights.stream().distinct().count() == 1);
    return line;
  }

  private JsonNode train(Work work, Map<String, String> environment)
      throws IOException, InterruptedException {
    ProcessBuilder command =
        baton(
            "bench",
            "train",
            "--workload",
            work.workload(),
            "--precision",
            work.precision(),
            "--device",
            options.device());
    int steps = steps(work.workload());
    if (steps > 0) {
      command.command().addAll(List.of("--steps", Integer.toString(steps)));
    }
    if (work.workload().equals("mnist-cnn")) {
      command.command().addAll(List.of("--data", data.toString()));
    }
    command.environment().putAll(environment);
    return run(command);
  }

  private JsonNode peer(Work work) throws IOException, InterruptedException {
    return run(
        Objects.requireNonNull(python)
            .process(
                peer.toString(),
                work.workload(),
                options.device(),
                work.precision(),
                Integer.toString(steps(work.workload())),
                data.toString()));
  }

  /** To measure; 0 for the workload's own number. */
  private int steps(String workload) {
    if (options.quick()) {
      return 10;
    }
    return workload.equals("resnet18") ? 50 : 0;
  }

  private static ProcessBuilder baton(String... args) {
    return new ProcessBuilder(
        Stream.concat(
                Stream.of(LocalCluster.root().resolve("deploy/bin/baton").toString()),
                Stream.of(args))
            .collect(Collectors.toCollection(ArrayList::new)));
  }

  /**
   * The line of JSON that a command prints.
   *
   * @throws IOException where it prints none, or does not end
   */
  private static JsonNode run(ProcessBuilder command) throws IOException, InterruptedException {
    Path out = Files.createTempFile("gpu-check", ".out");
    String line = String.join(" ", command.command());
    try {
      Process process =
          command
              .redirectError(ProcessBuilder.Redirect.INHERIT)
              .redirectOutput(out.toFile())
              .start();
      if (!process.waitFor(LIMIT_MINUTES, TimeUnit.MINUTES)) {
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly();
        throw new IOException(line + ": not done within " + LIMIT_MINUTES + " minutes");
      }
      String said = Files.readString(out).strip();
      // A check that fails says in its line what, and exits with 1.
      if (process.exitValue() > 1 || !said.startsWith("{")) {
        throw new IOException(line + ": exit " + process.exitValue());
      }
      return LocalCluster.JSON.readTree(said);
    } finally {
      Files.delete(out);
    }
  }

  private static double median(List<Double> values) {
    return values.stream().sorted().toList().get(values.size() / 2);
  }
}
