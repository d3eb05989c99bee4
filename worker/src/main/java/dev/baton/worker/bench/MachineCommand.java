package dev.baton.worker.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.baton.v1.Gpu;
import dev.baton.v1.Machine;
import dev.baton.worker.daemon.MachineProbe;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code baton machine}: what this host offers to jobs. No GPU is no error. */
@Command(
    name = "machine",
    description = "Shows this host's processors, memory, GPUs and libtorch.",
    mixinStandardHelpOptions = true)
public final class MachineCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = {"-o", "--output"},
      defaultValue = "text",
      paramLabel = "text|json",
      description = "Default: ${DEFAULT-VALUE}.")
  private String output = "text";

  @Override
  public Integer call() throws IOException {
    Machine machine = MachineProbe.probe(Path.of("").toAbsolutePath(), 0);
    PrintWriter out = spec.commandLine().getOut();
    switch (output) {
      case "json" -> out.println(new ObjectMapper().writeValueAsString(json(machine)));
      case "text" -> text(machine, out);
      default ->
          throw new ParameterException(
              spec.commandLine(), "--output is " + output + "; it must be one of text, json");
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

  private static void text(Machine machine, PrintWriter out) {
    out.printf(
        "host      %s, %s, Java %s%n", machine.getHostname(), machine.getOs(), machine.getJava());
    out.printf("cpus      %d x %s%n", machine.getCpus(), machine.getCpuModel());
    out.printf("memory    %s%n", gib(machine.getMemoryBytes()));
    out.printf("disk      %s free here%n", gib(machine.getDiskBytes()));
    out.printf("libtorch  %s%n", machine.getLibtorch());
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
  }

  private static String gib(long bytes) {
    return String.format(Locale.ROOT, "%.1f GiB", bytes / (double) (1 << 30));
  }
}
