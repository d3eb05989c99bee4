package dev.baton.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What this machine's GPU does with Baton, as {@code deploy/gpu-check} describes it. A table on
 * standard error as it comes, one line of JSON on standard output at the end. Needs no network.
 */
final class GpuCheck {
  /** From the kill to the next step on a worker that stands ready, CUDA's start included. */
  private static final double MOST_SECONDS_TO_NEXT_STEP = 10;

  /**
   * What to do.
   *
   * @param data a folder with {@code mnist/} in it; null: digits are drawn
   * @param device {@code cuda}; {@code cpu} tries the check itself where there is no GPU
   * @param quick a few steps of each: figures without meaning, the same checks
   */
  record Options(@Nullable Path data, String device, boolean quick) {
    static Options parse(String[] args) {
      Path data = null;
      String device = "cuda";
      boolean quick = false;
      for (int i = 0; i < args.length; i++) {
        switch (args[i]) {
          case "--quick" -> quick = true;
          case "--data" -> data = Path.of(value(args, ++i));
          case "--device" -> {
            device = value(args, ++i);
            if (!device.equals("cuda") && !device.equals("cpu")) {
              throw new IllegalArgumentException(
                  "--device is " + device + "; it must be cuda or cpu");
            }
          }
          default ->
              throw new IllegalArgumentException(
                  "unknown option " + args[i] + "; known are --data, --device and --quick");
        }
      }
      return new Options(data, device, quick);
    }

    private static String value(String[] args, int index) {
      if (index == args.length) {
        throw new IllegalArgumentException(args[index - 1] + " needs a value");
      }
      return args[index];
    }

    boolean cuda() {
      return device.equals("cuda");
    }
  }

  private final ObjectNode report = LocalCluster.JSON.createObjectNode();
  private final List<String> failures = new ArrayList<>();

  private GpuCheck() {}

  /** Runs it; exit code 1 where something is not as it should be, 2 for wrong usage. */
  public static void main(String[] args) throws IOException, InterruptedException {
    Options options;
    try {
      options = Options.parse(args);
    } catch (IllegalArgumentException e) {
      System.err.println("gpu-check: " + e.getMessage());
      System.exit(2);
      return;
    }
    Path dir = Files.createTempDirectory("baton-gpu-check");
    GpuCheck check = new GpuCheck();
    check.run(options, dir);
    check.failures.forEach(failure -> System.err.println("WRONG: " + failure));
    System.out.println(check.report);
    System.exit(check.failures.isEmpty() ? 0 : 1);
  }

  private void run(Options options, Path dir) throws IOException, InterruptedException {
    Path data = options.data();
    if (data == null) {
      data = dir;
      DrawDigits.write(dir.resolve("mnist"), options.quick() ? 2_000 : 60_000, 10_000, 1);
    }
    try (GpuMemory memory = GpuMemory.watch(options.cuda())) {
      GpuBenches benches = new GpuBenches(options, data, memory);
      report.set("machine", benches.machine());
      report.set("python", benches.python());
      bench(benches);
      replicas(benches.collectives(), benches.replicas());
      try (GpuJobs jobs = GpuJobs.start(options, dir, memory)) {
        spare(jobs.spareMemory());
        resume(jobs.killAndResume());
        checkpoints(jobs.checkpointsUnderLoad());
      }
    }
    ArrayNode wrong = report.putArray("failures");
    failures.forEach(wrong::add);
  }

  private void bench(GpuBenches benches) throws IOException, InterruptedException {
    ArrayNode lines = report.putArray("bench");
    System.err.printf(
        "%-12s %-5s %14s %14s %7s %10s %10s%n",
        "workload", "", "us per step", "Python's", "ratio", "loss", "peak MiB");
    for (GpuBenches.Work work : benches.works()) {
      ObjectNode line = benches.measure(work);
      lines.add(line);
      System.err.printf(
          "%-12s %-5s %14.1f %14s %7s %10.5f %10s%n",
          work.workload(),
          work.precision(),
          line.get("us_per_step").asDouble(),
          number("%.1f", line.path("python_us_per_step")),
          number("%.3f", line.path("ratio")),
          line.get("loss").asDouble(),
          number("%.0f", line.path("peak_mib")));
      if (!Double.isFinite(line.get("loss").asDouble())) {
        failures.add(work + " ends with loss " + line.get("loss"));
      }
    }
    ObjectNode host = benches.samplesOnHost();
    report.set("samples_on_host", host);
    System.err.printf(
        "mnist-cnn with its samples sent from the host each step: %.1f us, held by the device %.1f;"
            + " same loss and accuracy: %s%n",
        host.get("us_per_step").asDouble(),
        host.get("held_us_per_step").asDouble(),
        yesNo(host.get("same")));
    if (!host.get("same").asBoolean()) {
      failures.add("samples sent from the host train to another result than held ones");
    }
  }

  private void replicas(JsonNode collectives, ObjectNode replicas) {
    report.set("collectives", collectives);
    report.set("replicas", replicas);
    System.err.printf("collectives: %s%n", collectives);
    System.err.printf(
        "1, 2 and 4 replicas of four shards: %.1f, %.1f and %.1f us per step; same weights: %s%n",
        replicas.get("us_per_step_1").asDouble(),
        replicas.get("us_per_step_2").asDouble(),
        replicas.get("us_per_step_4").asDouble(),
        yesNo(replicas.get("same_weights")));
    collectives
        .properties()
        .forEach(
            tried -> {
              if (tried.getValue().isBoolean() && !tried.getValue().asBoolean()) {
                failures.add("the collective " + tried.getKey() + " fails");
              }
            });
    if (!replicas.get("same_weights").asBoolean()) {
      failures.add("1, 2 and 4 replicas do not give the same weights");
    }
  }

  private void spare(ObjectNode spare) {
    report.set("spare", spare);
    if (spare.has("device_mib")) {
      System.err.printf(
          "a spare trainer that waits holds %d MiB of GPU memory%n",
          spare.get("device_mib").asLong());
      if (spare.get("device_mib").asLong() > 0) {
        failures.add("a spare trainer holds GPU memory while it waits");
      }
    }
  }

  private void resume(ObjectNode resume) {
    report.set("resume", resume);
    System.err.printf(
        "killed at step %d; next step %.2f s later; same bits: %s; peak GPU memory %s MiB%n",
        resume.get("killed_at_step").asLong(),
        resume.get("seconds_to_next_step").asDouble(),
        yesNo(resume.get("same_weights")),
        number("%.0f", resume.path("peak_mib")));
    if (!resume.get("same_weights").asBoolean()) {
      failures.add("the job that was killed and resumed has other weights than the undisturbed");
    }
    if (resume.get("seconds_to_next_step").asDouble() > MOST_SECONDS_TO_NEXT_STEP) {
      failures.add("more than " + MOST_SECONDS_TO_NEXT_STEP + " s from the kill to the next step");
    }
  }

  private void checkpoints(ObjectNode line) {
    report.set("checkpoint", line);
    System.err.printf(
        "%d checkpoints of %.0f MB while training: %.1f %% slower than with none, %.0f ms each%n",
        line.get("checkpoints").asLong(),
        line.get("bytes").asDouble() / 1e6,
        line.get("slower_percent").asDouble(),
        line.get("ms_each").asDouble());
    if (line.get("checkpoints").asLong() == 0) {
      failures.add("no checkpoint was committed under load");
    }
    if (!line.get("same_weights").asBoolean()) {
      failures.add("checkpoints change the weights");
    }
  }

  private static String yesNo(JsonNode value) {
    return value.asBoolean() ? "yes" : "NO";
  }

  private static String number(String format, JsonNode value) {
    return value.isNumber() ? String.format(format, value.asDouble()) : "-";
  }
}
