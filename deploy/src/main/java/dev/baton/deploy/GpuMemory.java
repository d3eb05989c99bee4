package dev.baton.deploy;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * The first GPU's used memory, which {@code nvidia-smi} tells five times a second: the driver's
 * view, every process and CUDA's own share included.
 */
final class GpuMemory implements AutoCloseable {
  private final @Nullable Process smi;
  private long now;
  private long peak;
  private boolean known;

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
    now = mib;
    peak = Math.max(peak, mib);
    known = true;
  }

  /** MiB in use; empty where nothing is known. */
  synchronized OptionalLong now() {
    return known ? OptionalLong.of(now) : OptionalLong.empty();
  }

  /** Forgets the highest value so far. */
  synchronized void restart() {
    peak = now;
  }

  /** The highest MiB since {@link #restart}. */
  synchronized OptionalLong peak() {
    return known ? OptionalLong.of(peak) : OptionalLong.empty();
  }

  @Override
  public void close() {
    if (smi != null) {
      smi.destroyForcibly();
    }
  }
}
