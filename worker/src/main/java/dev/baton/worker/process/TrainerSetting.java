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
    Map<String, String> environment = new TreeMap<>(TrainerEnvironment.variables(threads));
    environment.put("CUDA_VISIBLE_DEVICES", gpu == NO_GPU ? "" : Integer.toString(gpu));
    return environment;
  }
}
