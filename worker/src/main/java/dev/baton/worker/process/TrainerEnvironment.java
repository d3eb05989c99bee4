package dev.baton.worker.process;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/**
 * What every process that trains is started with: environment variables that libtorch, OpenBLAS and
 * malloc read once when they are loaded, and options of the JVM. Trainers and benchmarks share it,
 * so that a benchmark measures what a job gets.
 */
public final class TrainerEnvironment {

  private static final Set<String> AVX512 =
      Set.of("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl");

  private TrainerEnvironment() {}

  /**
   * Variables to set in the child's environment.
   *
   * @param threads that a training step computes with; part of what results are exact within
   */
  public static Map<String, String> variables(int threads) {
    if (threads < 1) {
      throw new IllegalArgumentException("threads is " + threads + "; at least 1 is needed");
    }
    Map<String, String> variables = new LinkedHashMap<>();
    // set_num_threads reaches neither OpenBLAS nor what has started already.
    variables.put("OMP_NUM_THREADS", Integer.toString(threads));
    variables.put("OPENBLAS_NUM_THREADS", Integer.toString(threads));
    // A step allocates the same large tensors over and over. By default malloc gives each back to
    // the kernel, and every step pays for the page faults of getting it again. One arena, because
    // the arenas of threads other than the first are made of 64 MiB pieces, which larger tensors do
    // not fit into; Java's main thread is not the process's first.
    variables.put("MALLOC_ARENA_MAX", "1");
    variables.put("MALLOC_MMAP_THRESHOLD_", "4294967296");
    variables.put("MALLOC_TRIM_THRESHOLD_", "17179869184");
    if (isAmdWithAvx512()) {
      // OpenBLAS has AVX-512 kernels, some of them for small matrices, but chooses them by vendor:
      // LeNet's step takes 0.6 of the time that it takes with those for Zen.
      variables.put("OPENBLAS_CORETYPE", "SKYLAKEX");
    }
    // Deterministic cuBLAS: https://docs.nvidia.com/cuda/cublas/#results-reproducibility.
    variables.put("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
    // Where a replica is lost its group ends and another is formed, in the same process, which
    // c10d's threads would end:
    // https://docs.pytorch.org/docs/stable/torch_nccl_environment_variables.html.
    variables.put("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0");
    variables.put("TORCH_NCCL_RETHROW_CUDA_ERRORS", "0");
    variables.put("TORCH_NCCL_DUMP_ON_TIMEOUT", "0");
    variables.put("TORCH_NCCL_WAIT_TIMEOUT_DUMP_MILSEC", "0");
    variables.put("TORCH_NCCL_ENABLE_MONITORING", "0");
    // GPUs are counted as nvidia-smi counts them; CUDA itself would begin with the fastest.
    variables.put("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
    return variables;
  }

  private static boolean isAmdWithAvx512() {
    try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
      List<String> processor = lines.takeWhile(line -> !line.isBlank()).toList();
      return processor.stream().anyMatch(line -> line.matches("vendor_id\\s*: AuthenticAMD"))
          && processor.stream()
              .filter(line -> line.startsWith("flags"))
              .anyMatch(line -> Arrays.asList(line.split("\\s+")).containsAll(AVX512));
    } catch (IOException e) {
      return false;
    }
  }

  /**
   * A command line that runs another one as batch work, sched(7)'s {@code SCHED_BATCH}, where the
   * system lets it: whatever of it wakes up lets the thread that computes go on until its next
   * tick. Without that, Gloo's thread, woken by what another replica sends, takes the processor
   * from the training thread in the middle of its own sending, and then spins for the lock that is
   * held by it, 4 ms at a time at 250 Hz. And everything else on the machine comes first.
   */
  public static List<String> asBatchWork(List<String> line) {
    List<String> all =
        new ArrayList<>(
            List.of("/bin/sh", "-c", "chrt --batch -p 0 $$ >/dev/null 2>&1; exec \"$@\"", "sh"));
    all.addAll(line);
    return all;
  }

  /**
   * Options of the child's JVM, besides heap size and class path; those that the environment's
   * BATON_TRAINER_JAVA_OPTS names come last, and win.
   */
  public static List<String> javaOptions() {
    List<String> options = new ArrayList<>();
    // The heap is small and short-lived; its collector should not compete with the step.
    options.add("-XX:+UseSerialGC");
    // JavaCPP would refuse native memory beyond a multiple of -Xmx, and look at the process's size
    // for each native object.
    options.add("-Dorg.bytedeco.javacpp.maxphysicalbytes=0");
    options.add("-Dorg.bytedeco.javacpp.maxbytes=0");
    if (Runtime.version().feature() >= 24) { // newer JVMs warn of what JavaCPP and protobuf do
      options.add("--enable-native-access=ALL-UNNAMED");
      options.add("--sun-misc-unsafe-memory-access=allow");
    }
    String more = System.getenv("BATON_TRAINER_JAVA_OPTS");
    if (more != null && !more.isBlank()) {
      options.addAll(List.of(more.strip().split("\\s+")));
    }
    return options;
  }
}
