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

  /** CUDA's context takes hundreds; the driver's own share varies by a few. */
  private static final long LEAST_MIB_OF_A_CONTEXT = 64;

  /**
   * What to do.
   *
   * @param data a folder with {@code mnist/} in it; null: digits are drawn
   * @param device {@code cuda}; {@code cpu} tries the check itself where there is no GPU
   * @param quick a few steps of each: figures without meaning, the same checks
   * @param only the one part to run; null: all
   */
  record Options(@Nullable Path data, String device, boolean quick, @Nullable String only) {
    private static final List<String> PARTS = List.of("replicas", "jobs", "bench");

    static Options parse(String[] args) {
      Path data = null;
      String device = "cuda";
      String only = null;
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
          case "--only" -> {
            only = value(args, ++i);
            if (!PARTS.contains(only)) {
              throw new IllegalArgumentException(
                  "--only is " + only + "; it must be one of " + String.join(", ", PARTS));
            }
          }
          default ->
              throw new IllegalArgumentException(
                  "unknown option " + args[i] + "; known are --data, --quick, --only and --device");
        }
      }
      return new Options(data, device, quick, only);
    }

    private static String value(String[] args, int index) {
      if (index == args.length) {
        throw new IllegalArgumentException(args[index - 1] + " needs a value");
      }
      return args[index];
    }

    private boolean wants(String part) {
      return only == null || only.equals(part);
    }

    boolean cuda() {
      return device.equals("cuda");
    }
  }

  /** A step of the check. */
  private interface Part {
    void run() throws IOException, InterruptedException;
  }

  private final Options options;
  private final Path dir;
  private final ObjectNode report = LocalCluster.JSON.createObjectNode();
  private final List<String> failures = new ArrayList<>();

  private GpuCheck(Options options, Path dir) {
    this.options = options;
    this.dir = dir;
  }

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
    GpuCheck check = new GpuCheck(options, dir);
    check.part("the check", check::run);
    check.failures.forEach(check.report.putArray("failures")::add);
    System.out.println(check.report);
    if (check.failures.isEmpty()) {
      Folders.delete(dir);
    } else {
      check.failures.forEach(failure -> System.err.println("WRONG: " + failure));
      System.err.println("what was written: " + dir);
    }
    System.exit(check.failures.isEmpty() ? 0 : 1);
  }

  /** Runs it; what breaks in it is a failure to report, and no reason not to try the rest. */
  private void part(String name, Part part) throws InterruptedException {
    try {
      part.run();
    } catch (IOException e) {
      // What broke has said why itself.
      failures.add(name + ": " + e.getMessage());
      System.err.println(name + ": " + e.getMessage());
    } catch (RuntimeException e) {
      // The check's own fault.
      failures.add(name + ": " + e);
      e.printStackTrace();
    }
  }

  private void run() throws IOException, InterruptedException {
    Path given = options.data();
    Path data = given == null ? dir : given;
    if (given == null) {
      DrawDigits.write(dir.resolve("mnist"), options.quick() ? 2_000 : 60_000, 10_000, 1);
    }
    try (GpuMemory memory = GpuMemory.watch(options.cuda())) {
      GpuBenches benches = new GpuBenches(options, data, dir, memory);
      part("baton machine", () -> report.set("machine", benches.machine()));
      report.set("python", benches.python());
      if (options.wants("replicas")) {
        part("collectives", () -> collectives(benches.collectives()));
        part("replicas", () -> replicas(benches.replicas()));
      }
      if (options.wants("jobs")) {
        part("jobs", () -> jobs(memory));
      }
      // Last, as it takes longest.
      if (options.wants("bench")) {
        part("samples on the host", () -> samplesOnHost(benches.samplesOnHost()));
        bench(benches);
      }
    }
  }

  private void jobs(GpuMemory memory) throws IOException, InterruptedException {
    try (GpuJobs jobs = GpuJobs.start(options, dir, memory)) {
      part("spare trainer", () -> spare(jobs.spareMemory()));
      part("kill and resume", () -> resume(jobs.killAndResume()));
      part("checkpoints", () -> checkpoints(jobs.checkpointsUnderLoad()));
    }
  }

  private void bench(GpuBenches benches) throws InterruptedException {
    ArrayNode lines = report.putArray("bench");
    System.err.printf(
        "%-12s %-5s %14s %14s %7s %10s %10s %10s%n",
        "workload", "", "us per step", "Python's", "ratio", "loss", "peak MiB", "Python's");
    for (GpuBenches.Work work : benches.works()) {
      part(work.workload() + " " + work.precision(), () -> lines.add(bench(benches, work)));
    }
  }

  private ObjectNode bench(GpuBenches benches, GpuBenches.Work work)
      throws IOException, InterruptedException {
    ObjectNode line = benches.measure(work);
    System.err.printf(
        "%-12s %-5s %14.1f %14s %7s %10.5f %10s %10s%n",
        work.workload(),
        work.precision(),
        line.get("us_per_step").asDouble(),
        number("%.1f", line.path("python_us_per_step")),
        number("%.3f", line.path("ratio")),
        line.get("loss").asDouble(),
        number("%.0f", line.path("peak_mib")),
        number("%.0f", line.path("python_peak_mib")));
    if (!Double.isFinite(line.get("loss").asDouble())) {
      failures.add(work + " ends with loss " + line.get("loss"));
    }
    return line;
  }

  private void samplesOnHost(ObjectNode host) {
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

  private void collectives(JsonNode collectives) {
    report.set("collectives", collectives);
    System.err.printf("collectives: %s%n", collectives);
    collectives
        .properties()
        .forEach(
            tried -> {
              if (tried.getValue().isBoolean() && !tried.getValue().asBoolean()) {
                failures.add("the collective " + tried.getKey() + " fails");
              }
            });
  }

  private void replicas(ObjectNode replicas) {
    report.set("replicas", replicas);
    System.err.printf(
        "1, 2 and 4 replicas of four shards: %.1f, %.1f and %.1f us per step; same weights: %s%n",
        replicas.get("us_per_step_1").asDouble(),
        replicas.get("us_per_step_2").asDouble(),
        replicas.get("us_per_step_4").asDouble(),
        yesNo(replicas.get("same_weights")));
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
      if (spare.get("device_mib").asLong() >= LEAST_MIB_OF_A_CONTEXT) {
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
