package dev.baton.worker.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.baton.v1.Gpu;
import dev.baton.v1.Machine;
import dev.baton.worker.daemon.MachineProbe;
import dev.baton.worker.natives.NativeLibraries;
import dev.baton.worker.natives.TorchBuild;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/**
 * {@code baton machine}: what this host offers to jobs, whether libtorch can use it, and how fast
 * it multiplies matrices. No GPU is no error.
 */
@Command(
    name = "machine",
    description =
        "Shows this host's processors, memory, GPUs and libtorch; measures for a second each.",
    mixinStandardHelpOptions = true)
public final class MachineCommand implements Callable<Integer> {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final long LIBTORCH_SECONDS = 120;

  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = {"-o", "--output"},
      defaultValue = "text",
      paramLabel = "text|json",
      description = "Default: ${DEFAULT-VALUE}.")
  private String output = "text";

  @Option(
      names = "--work-dir",
      paramLabel = "DIR",
      description = "The worker's, where CUDA libraries may be installed.")
  private @Nullable Path workDir;

  @Override
  public Integer call() throws IOException, InterruptedException {
    if (!output.equals("text") && !output.equals("json")) {
      throw new ParameterException(
          spec.commandLine(), "--output is " + output + "; it must be one of text, json");
    }
    Machine machine = MachineProbe.probe(Path.of("").toAbsolutePath(), 0);
    NativeLibraries natives =
        NativeLibraries.ofLauncher(
            workDir == null
                ? LibtorchProcess.INSTALLED
                : workDir.toAbsolutePath().normalize().resolve("cuda"),
            machine.getGpusList());
    Map<String, Object> report = json(machine);
    report.putAll(json(natives));
    report.putAll(measure(natives, machine.getCpus()));
    PrintWriter out = spec.commandLine().getOut();
    if (output.equals("json")) {
      out.println(MAPPER.writeValueAsString(report));
    } else {
      text(machine, natives, report, out);
    }
    return 0;
  }

  private static Map<String, Object> json(Machine machine) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("hostname", machine.getHostname());
    json.put("os", machine.getOs());
    json.put("java", machine.getJava());
    json.put("cpu_model", machine.getCpuModel());
    json.put("cpus", machine.getCpus());
    json.put("memory_bytes", machine.getMemoryBytes());
    json.put("disk_bytes", machine.getDiskBytes());
    json.put("libtorch", machine.getLibtorch());
    json.put("gpus", machine.getGpusList().stream().map(MachineCommand::json).toList());
    return json;
  }

  private static Map<String, Object> json(Gpu gpu) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("index", gpu.getIndex());
    json.put("model", gpu.getModel());
    json.put("memory_bytes", gpu.getMemoryBytes());
    json.put("compute_capability", gpu.getComputeCapability());
    json.put("driver", gpu.getDriver());
    return json;
  }

  private static Map<String, Object> json(NativeLibraries natives) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("natives", natives.build().map(TorchBuild::label).orElse(null));
    json.put("uses", natives.summary());
    Map<String, String> cuda = new TreeMap<>();
    natives.cuda().forEach((name, file) -> cuda.put(name, file.toString()));
    json.put("cuda_libraries", cuda);
    json.put("gpu_problem", natives.gpuProblem().isEmpty() ? null : natives.gpuProblem());
    return json;
  }

  /**
   * What libtorch itself says, in a process that may crash: {@code gpus_seen_by_libtorch}, {@code
   * matrix_products}, and {@code problem}, which is null where all is well.
   */
  public static Map<String, Object> measure(NativeLibraries natives, int threads)
      throws IOException, InterruptedException {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("gpus_seen_by_libtorch", null);
    json.put("matrix_products", List.of());
    json.put("problem", null);
    if (!natives.problem().isEmpty()) {
      json.put("problem", natives.problem());
      return json;
    }
    Process process =
        LibtorchProcess.of(natives, threads, MatrixProduct.class.getName(), List.of())
            .redirectErrorStream(true)
            .start();
    process.getOutputStream().close();
    // A driver that hangs must not hang the report; its output is a few lines.
    if (!process.waitFor(LIBTORCH_SECONDS, TimeUnit.SECONDS)) {
      process.destroyForcibly();
      json.put("problem", "libtorch did not answer within " + LIBTORCH_SECONDS + " s");
      return json;
    }
    List<String> lines;
    try (BufferedReader said = process.inputReader(StandardCharsets.UTF_8)) {
      lines = said.lines().filter(line -> !line.isBlank()).toList();
    }
    String last = lines.isEmpty() ? "" : lines.get(lines.size() - 1);
    if (process.exitValue() != 0 || !last.startsWith("{")) {
      json.put(
          "problem",
          "libtorch failed here (exit "
              + process.exitValue()
              + "): "
              + lines.stream().filter(MachineCommand::tells).findFirst().orElse(last));
      return json;
    }
    JsonNode answer = MAPPER.readTree(last);
    json.put("gpus_seen_by_libtorch", answer.path("gpus").asInt());
    json.put("matrix_products", MAPPER.convertValue(answer.path("products"), List.class));
    for (JsonNode product : answer.path("products")) {
      if (!product.path("agrees_with_cpu").asBoolean(true)) {
        json.put(
            "problem",
            product.path("device").asText()
                + " multiplies matrices to other numbers than the CPU; nothing that it trains can"
                + " be trusted");
      }
    }
    return json;
  }

  private static boolean tells(String line) {
    return line.startsWith("Exception") || line.contains("Error") || line.contains("SIG");
  }

  private static void text(
      Machine machine, NativeLibraries natives, Map<String, Object> report, PrintWriter out) {
    out.printf(
        "host      %s, %s, Java %s%n", machine.getHostname(), machine.getOs(), machine.getJava());
    out.printf("cpus      %d x %s%n", machine.getCpus(), machine.getCpuModel());
    out.printf("memory    %s%n", gib(machine.getMemoryBytes()));
    out.printf("disk      %s free here%n", gib(machine.getDiskBytes()));
    List<Gpu> gpus = machine.getGpusList();
    if (gpus.isEmpty()) {
      out.println("gpus      none");
    }
    for (Gpu gpu : gpus) {
      out.printf(
          "gpu %-5d %s, %s, compute capability %s, driver %s%n",
          gpu.getIndex(),
          gpu.getModel(),
          gib(gpu.getMemoryBytes()),
          gpu.getComputeCapability(),
          gpu.getDriver());
    }
    out.printf("libtorch  %s: %s%n", machine.getLibtorch(), natives.summary());
    natives.cuda().forEach((name, file) -> out.printf("          %-20s %s%n", name, file));
    if (report.get("problem") != null) {
      out.printf("problem   %s%n", report.get("problem"));
      return;
    }
    if (!gpus.isEmpty()) {
      out.printf("          libtorch sees %s of them%n", report.get("gpus_seen_by_libtorch"));
    }
    if (report.get("matrix_products") instanceof List<?> products) {
      for (Object product : products) {
        JsonNode fields = MAPPER.valueToTree(product);
        out.printf(
            Locale.ROOT,
            "product   %s: %,.0f GFLOP/s in fp32%n",
            fields.path("device").asText(),
            fields.path("gflops").asDouble());
      }
    }
  }

  private static String gib(long bytes) {
    return String.format(Locale.ROOT, "%.1f GiB", bytes / (double) (1 << 30));
  }
}
