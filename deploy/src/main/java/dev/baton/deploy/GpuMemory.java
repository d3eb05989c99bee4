package dev.baton.deploy;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The first GPU's memory in use beyond the least that was ever seen, in MiB: what {@code
 * nvidia-smi} tells five times a second, the driver's view, every process and CUDA's own share
 * included.
 */
final class GpuMemory implements AutoCloseable {
  private final @Nullable Process smi;
  private long least = Long.MAX_VALUE;
  private long now;
  private long peak;

  private GpuMemory(@Nullable Process smi) {
    this.smi = smi;
  }

  /**
   * Begins to watch.
   *
   * @param cuda false where there is no GPU: nothing is ever known then
   */
  static GpuMemory watch(boolean cuda) throws IOException {
    if (!cuda) {
      return new GpuMemory(null);
    }
    Process smi =
        new ProcessBuilder(
                List.of(
                    "nvidia-smi",
                    "--id=0",
                    "--query-gpu=memory.used",
                    "--format=csv,noheader,nounits",
                    "--loop-ms=200"))
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    GpuMemory memory = new GpuMemory(smi);
    Thread reader = new Thread(() -> memory.read(smi), "gpu-memory");
    reader.setDaemon(true);
    reader.start();
    return memory;
  }

  private void read(Process process) {
    try (BufferedReader out = process.inputReader(StandardCharsets.UTF_8)) {
      for (String line = out.readLine(); line != null; line = out.readLine()) {
        if (line.strip().chars().allMatch(Character::isDigit) && !line.isBlank()) {
          note(Long.parseLong(line.strip()));
        }
      }
    } catch (IOException e) {
      // Closed; what was seen stands.
    }
  }

  private synchronized void note(long mib) {
    least = Math.min(least, mib);
    now = mib;
    peak = Math.max(peak, mib);
  }

  /** Whether there is a figure. */
  synchronized boolean isKnown() {
    return least != Long.MAX_VALUE;
  }

  /** What is in use; 0 where nothing is known. */
  synchronized long now() {
    return isKnown() ? now - least : 0;
  }

  /** Forgets the highest value so far. */
  synchronized void restart() {
    peak = now;
  }

  /** The highest since {@link #restart}; 0 where nothing is known. */
  synchronized long peak() {
    return isKnown() ? peak - least : 0;
  }

  @Override
  public void close() {
    if (smi != null) {
      smi.destroyForcibly();
    }
  }
}
