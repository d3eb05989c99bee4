package dev.baton.worker.bench;

import dev.baton.v1.Gpu;
import dev.baton.worker.natives.NativeLibraries;
import dev.baton.worker.process.TrainerEnvironment;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A process that loads libtorch, in the environment that the daemon gives to trainers. */
final class LibtorchProcess {
  /** Stands for the work folder's {@code cuda} where no work folder is named. */
  static final Path INSTALLED = Path.of("WORKDIR", "cuda");

  private LibtorchProcess() {}

  /**
   * The native libraries that the command is to load.
   *
   * @param gpus that it computes on; empty: on CPUs
   * @throws IOException where they cannot be loaded or cannot use the GPUs: one line that says why
   */
  static NativeLibraries natives(List<Gpu> gpus) throws IOException {
    NativeLibraries natives = NativeLibraries.ofLauncher(INSTALLED, gpus);
    String problem = natives.gpuProblem().isEmpty() ? natives.problem() : natives.gpuProblem();
    if (!problem.isEmpty()) {
      throw new IOException(problem);
    }
    return natives;
  }

  /** Variables to set in its environment, beside those of this process. */
  static Map<String, String> variables(NativeLibraries natives, int threads) {
    Map<String, String> variables = new HashMap<>(TrainerEnvironment.variables(threads));
    variables.putAll(natives.environment(System.getenv()));
    return variables;
  }

  /** The process, not started yet. */
  static ProcessBuilder of(
      NativeLibraries natives, int threads, String mainClass, List<String> arguments) {
    List<String> line = new ArrayList<>();
    line.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    line.addAll(TrainerEnvironment.javaOptions());
    line.addAll(natives.javaOptions());
    line.add("-XX:-UsePerfData");
    line.add("-cp");
    line.add(System.getProperty("java.class.path"));
    line.add(mainClass);
    line.addAll(arguments);
    ProcessBuilder builder = new ProcessBuilder(TrainerEnvironment.asBatchWork(line));
    builder.environment().putAll(variables(natives, threads));
    return builder;
  }
}
