package dev.baton.worker.bench;

import dev.baton.v1.Gpu;
import dev.baton.worker.natives.NativeLibraries;
import dev.baton.worker.process.NvidiaSmi;
import dev.baton.worker.trainer.GroupBrokenException;
import dev.baton.worker.trainer.TrainingException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/**
 * {@code baton bench train}: what a training step costs here, through the engine and the batches
 * that a job runs with. Prints one line of JSON.
 *
 * <p>libtorch and malloc read the environment when they are loaded, so the command starts itself
 * again, in the environment that the daemon gives to trainers.
 */
@Command(
    name = "train",
    description = "Measures training steps as a job runs them; prints one line of JSON.",
    mixinStandardHelpOptions = true)
public final class BenchTrainCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--workload",
      required = true,
      paramLabel = "NAME",
      description = "linreg, lenet-cifar, mnist-cnn or resnet18.")
  private String workload = "";

  @Option(
      names = "--threads",
      defaultValue = "1",
      paramLabel = "N",
      description = "Threads of a step. Default: ${DEFAULT-VALUE}.")
  private int threads;

  @Option(
      names = "--steps",
      defaultValue = "0",
      paramLabel = "N",
      description = "Steps to measure, after 3 to warm up. Default: the workload's.")
  private int steps;

  @Option(
      names = "--precision",
      defaultValue = "fp32",
      paramLabel = "fp32|bf16",
      description = "bf16: forward pass and loss under autocast. Default: ${DEFAULT-VALUE}.")
  private String precision = "fp32";

  @Option(
      names = "--device",
      defaultValue = "cpu",
      paramLabel = "cpu|cuda",
      description = "Default: ${DEFAULT-VALUE}.")
  private String device = "cpu";

  @Option(
      names = "--data",
      paramLabel = "DIR",
      description = "mnist-cnn reads DIR/mnist, MNIST's four IDX files.")
  private @Nullable Path data;

  @Option(
      names = "--replicas",
      defaultValue = "1",
      paramLabel = "N",
      description = "Data-parallel trainers. Default: ${DEFAULT-VALUE}.")
  private int replicas;

  @Option(
      names = "--fast",
      description =
          "Replicas without the promise of the same bits; with one there is nothing to tell apart.")
  private boolean fast;

  @Option(
      names = "--shards",
      defaultValue = "0",
      paramLabel = "V",
      description = "Slices of each batch, on which the result depends. Default: the replicas.")
  private int shards;

  @Option(names = RankProcesses.RANK_OPTION, hidden = true, defaultValue = "-1")
  private int rank;

  @Override
  public Integer call() throws IOException, InterruptedException {
    BenchTrain bench =
        new BenchTrain(
            Workload.of(workload)
                .orElseThrow(() -> wrong("--workload", workload, Workload.labels())),
            positive("--threads", threads),
            steps == 0 ? 0 : positive("--steps", steps),
            precision(),
            device(),
            mnist(),
            positive("--replicas", replicas),
            shards == 0 ? replicas : shards,
            fast);
    if (shards != 0 && shards < replicas) {
      throw new ParameterException(
          spec.commandLine(),
          "--shards is " + shards + "; it must be at least --replicas, which is " + replicas);
    }
    List<Gpu> gpus = device.equals("cuda") ? NvidiaSmi.gpus() : List.of();
    if (rank < 0) {
      NativeLibraries natives = LibtorchProcess.natives(gpus);
      RankProcesses processes =
          new RankProcesses(
              natives, threads, gpus, spec.root().commandLine().getParseResult().originalArgs());
      if (replicas > 1) {
        return processes.run(replicas, spec.commandLine().getOut());
      }
      if (!System.getenv()
          .entrySet()
          .containsAll(LibtorchProcess.variables(natives, threads).entrySet())) {
        return processes.runOne();
      }
    }
    try {
      String line =
          rank < 0
              ? bench.run(null, port -> {})
              : bench.run(
                  RankProcesses.membership(rank, replicas, RankProcesses.backend(replicas, gpus)),
                  port -> RankProcesses.listening(spec.commandLine().getOut(), port));
      spec.commandLine().getOut().println(line);
      return 0;
    } catch (TrainingException | GroupBrokenException e) {
      spec.commandLine().getErr().println("error: " + e.getMessage());
      return 1;
    }
  }

  private boolean precision() {
    return switch (precision) {
      case "fp32" -> false;
      case "bf16" -> true;
      default -> throw wrong("--precision", precision, List.of("fp32", "bf16"));
    };
  }

  private String device() {
    if (!device.equals("cpu") && !device.equals("cuda")) {
      throw wrong("--device", device, List.of("cpu", "cuda"));
    }
    return device;
  }

  private @Nullable Path mnist() {
    if (!workload.equals(Workload.MNIST_CNN.label())) {
      return null;
    }
    if (data == null) {
      throw new ParameterException(
          spec.commandLine(),
          "workload mnist-cnn trains on MNIST: say with --data DIR which folder holds mnist/ with"
              + " its four IDX files");
    }
    Path mnist = data.resolve("mnist");
    if (!Files.isDirectory(mnist)) {
      throw new ParameterException(
          spec.commandLine(),
          mnist + " is no folder; it must hold MNIST's four IDX files, gzip or not");
    }
    return mnist;
  }

  private int positive(String option, int value) {
    if (value < 1) {
      throw new ParameterException(
          spec.commandLine(), option + " is " + value + "; it must be at least 1");
    }
    return value;
  }

  private ParameterException wrong(String option, String value, List<String> right) {
    return new ParameterException(
        spec.commandLine(),
        option + " is " + value + "; it must be one of " + String.join(", ", right));
  }
}
