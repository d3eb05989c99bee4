package dev.baton.worker.process;

import java.util.Map;
import java.util.TreeMap;

/**
 * What a trainer must be started with, because libtorch reads it when it is loaded.
 *
 * @param threads of OpenMP and OpenBLAS: the job's {@code resources.cpus}
 * @param gpu the index of the one GPU that it sees; {@link #NO_GPU} for none
 */
public record TrainerSetting(int threads, int gpu) {
  /** Trains on the CPU. */
  public static final int NO_GPU = -1;

  public TrainerSetting {
    if (threads < 1) {
      throw new IllegalArgumentException("threads: " + threads + "; expected 1 or more");
    }
  }

  /** {@code cpu} or {@code cuda}. */
  public String device() {
    return gpu == NO_GPU ? "cpu" : "cuda";
  }

  /** The trainer's environment variables beyond the daemon's own. */
  public Map<String, String> environment() {
    Map<String, String> environment = new TreeMap<>();
    environment.put("OMP_NUM_THREADS", Integer.toString(threads));
    environment.put("OPENBLAS_NUM_THREADS", Integer.toString(threads));
    environment.put("MKL_NUM_THREADS", Integer.toString(threads));
    // Tensors of a step come and go: without these, each one's pages are faulted in anew.
    environment.put("MALLOC_MMAP_THRESHOLD_", Long.toString(1L << 30));
    environment.put("MALLOC_TRIM_THRESHOLD_", Long.toString(4L << 30));
    // cuBLAS is deterministic with a workspace of its own only.
    environment.put("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
    environment.put("CUDA_VISIBLE_DEVICES", gpu == NO_GPU ? "" : Integer.toString(gpu));
    return environment;
  }
}
