package dev.baton.worker;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.baton.doctor.CoordinatorChecks;
import dev.baton.doctor.CoordinatorChecks.Caller;
import dev.baton.doctor.Diagnosis;
import dev.baton.doctor.HttpProbe;
import dev.baton.doctor.MachineChecks;
import dev.baton.rpc.Channels;
import dev.baton.rpc.Proxies;
import dev.baton.rpc.Version;
import dev.baton.transfer.FileProblems;
import dev.baton.v1.CoordinatorInfo;
import dev.baton.v1.Gpu;
import dev.baton.v1.Machine;
import dev.baton.worker.bench.MachineCommand;
import dev.baton.worker.config.WorkerConfig;
import dev.baton.worker.daemon.MachineProbe;
import dev.baton.worker.daemon.WorkDir;
import dev.baton.worker.daemon.WorkerDaemon;
import dev.baton.worker.natives.NativeLibraries;
import io.grpc.ManagedChannel;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/**
 * {@code baton doctor --work-dir DIR}: what is wrong with a worker's set-up, whether it runs or
 * not. Changes nothing.
 */
@Command(
    name = "doctor",
    description = "Says what is wrong with a worker's set-up, and what to do.",
    mixinStandardHelpOptions = true)
final class Doctor implements Callable<Integer> {
  private static final Caller WORKER =
      new Caller(Version.OF_THIS, WorkerDaemon.PROTOCOL, Set.of("worker", "admin"));

  private static final Path SHARED_MEMORY = Path.of("/dev/shm");
  private static final long LEAST_DISK = 1L << 30;
  private static final long ENOUGH_MEMORY = 2L << 30;
  // What NCCL takes between the GPUs of one machine; containers have 64 MiB unless they are told.
  private static final long ENOUGH_SHARED_MEMORY = 1L << 30;
  private static final long ENOUGH_FILES = 1_024;

  @Spec private CommandSpec spec = CommandSpec.create();

  /** The worker's own options. */
  @Mixin private WorkerCommand worker = new WorkerCommand();

  @Option(
      names = {"-o", "--output"},
      paramLabel = "table|json",
      defaultValue = "table",
      description = "What to print (default: ${DEFAULT-VALUE}).")
  private String output = "table";

  private final Diagnosis diagnosis = new Diagnosis();

  @Override
  public Integer call() throws IOException, InterruptedException {
    if (!output.equals("table") && !output.equals("json")) {
      throw new ParameterException(
          spec.commandLine(), "--output is " + output + "; it must be one of table, json");
    }
    Optional<WorkerConfig> config = config();
    if (config.isPresent()) {
      Path there = workDir(config.get());
      machine(config.get(), there);
      coordinator(config.get());
    }
    PrintWriter out = spec.commandLine().getOut();
    if (output.equals("json")) {
      out.println(new ObjectMapper().writeValueAsString(diagnosis.rows()));
    } else {
      out.print(diagnosis.text());
    }
    out.flush();
    return diagnosis.exitCode();
  }

  private Optional<WorkerConfig> config() {
    try {
      WorkerConfig config = worker.config();
      diagnosis.ok("settings", config.toString());
      return Optional.of(config);
    } catch (IllegalArgumentException e) {
      diagnosis.fail("settings", String.valueOf(e.getMessage()));
      return Optional.empty();
    }
  }

  /** The folder, or the nearest one above that exists. */
  private Path workDir(WorkerConfig config) {
    Path dir = config.workDir();
    Path there = MachineChecks.writable(diagnosis, "work-dir", dir);
    try {
      diagnosis.ok(
          "process",
          MachineChecks.holder(dir.resolve(WorkDir.LOCK))
              .map(pid -> "process " + pid + " runs as the worker of " + dir)
              .orElse("no worker runs in " + dir));
      long wanted = Math.max(0, config.cacheQuotaBytes() - cached(dir));
      MachineChecks.space(diagnosis, there, LEAST_DISK, wanted + LEAST_DISK);
    } catch (IOException e) {
      diagnosis.fail(
          "process", "the lock in " + dir + " cannot be looked at: " + FileProblems.describe(e));
    } catch (UncheckedIOException e) {
      diagnosis.warn("disk", "what is cached in " + dir + " cannot be read: " + e.getMessage());
    }
    return there;
  }

  /** Bytes of data sets that are here already. */
  private static long cached(Path dir) throws IOException {
    long bytes = 0;
    for (String part : List.of("datasets", "decoded")) {
      if (Files.isDirectory(dir.resolve(part))) {
        try (Stream<Path> files = Files.walk(dir.resolve(part))) {
          bytes += files.mapToLong(file -> file.toFile().length()).sum();
        }
      }
    }
    return bytes;
  }

  private void machine(WorkerConfig config, Path there) throws IOException, InterruptedException {
    Machine machine = MachineProbe.probe(there, config.cpus());
    long memory = machine.getMemoryBytes();
    String size = MachineChecks.bytes(memory) + " of memory, " + machine.getCpus() + " processors";
    if (memory < ENOUGH_MEMORY) {
      diagnosis.warn("machine", size + "; a trainer wants " + MachineChecks.bytes(ENOUGH_MEMORY));
    } else {
      diagnosis.ok("machine", size);
    }
    libtorch(
        machine,
        NativeLibraries.ofLauncher(config.workDir().resolve("cuda"), machine.getGpusList()));
    sharedMemory(machine.getGpusCount());
    MachineChecks.openFiles(diagnosis, ENOUGH_FILES);
  }

  private void libtorch(Machine machine, NativeLibraries natives)
      throws IOException, InterruptedException {
    List<Gpu> gpus = machine.getGpusList();
    if (gpus.isEmpty()) {
      diagnosis.ok("gpus", "none that nvidia-smi shows; jobs train on CPUs");
    } else if (natives.gpuProblem().isEmpty()) {
      Gpu first = gpus.get(0);
      diagnosis.ok(
          "gpus", gpus.size() + " x " + first.getModel() + ", driver " + first.getDriver());
    } else if (worker.allowsCpu()) {
      diagnosis.warn("gpus", natives.gpuProblem());
    } else {
      diagnosis.fail("gpus", natives.gpuProblem() + "; or train on CPUs with --allow-cpu");
    }
    Map<String, Object> report = MachineCommand.measure(natives, machine.getCpus());
    if (report.get("problem") != null) {
      diagnosis.fail("libtorch", String.valueOf(report.get("problem")));
    } else {
      diagnosis.ok("libtorch", machine.getLibtorch() + " computes: " + natives.summary());
    }
  }

  private void sharedMemory(int gpus) throws IOException {
    long bytes =
        Files.isDirectory(SHARED_MEMORY) ? Files.getFileStore(SHARED_MEMORY).getTotalSpace() : 0;
    String line = SHARED_MEMORY + " holds " + MachineChecks.bytes(bytes);
    if (gpus > 1 && bytes < ENOUGH_SHARED_MEMORY) {
      diagnosis.warn(
          "shm", line + ", too little for several GPUs; docker run --shm-size 1g gives it more");
    } else {
      diagnosis.ok("shm", line);
    }
  }

  private void coordinator(WorkerConfig config) throws InterruptedException {
    Proxies proxies = Proxies.of(System.getenv());
    var checks =
        new CoordinatorChecks(diagnosis, config.access(), WORKER, System::currentTimeMillis);
    if (!checks.way(proxies)) {
      return;
    }
    ManagedChannel channel = Channels.open(config.access(), proxies);
    try {
      Optional<CoordinatorInfo> info = checks.call(channel);
      if (info.isPresent()) {
        checks.objects(info.get(), HttpProbe.of(config.access(), proxies));
      }
    } finally {
      channel.shutdownNow();
    }
  }
}
