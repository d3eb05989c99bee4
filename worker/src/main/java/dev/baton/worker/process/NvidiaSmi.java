package dev.baton.worker.process;

import dev.baton.v1.Gpu;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The machine's NVIDIA GPUs, as the driver's own tool lists them; none where it is not there. */
public final class NvidiaSmi {
  private static final Logger log = LoggerFactory.getLogger(NvidiaSmi.class);

  private NvidiaSmi() {}

  /** Every GPU of the machine, whatever CUDA_VISIBLE_DEVICES says. */
  public static List<Gpu> gpus() {
    Process process;
    try {
      process =
          new ProcessBuilder(
                  "nvidia-smi",
                  "--query-gpu=index,name,memory.total,compute_cap,driver_version",
                  "--format=csv,noheader,nounits")
              .redirectErrorStream(true)
              .start();
    } catch (IOException e) {
      return List.of();
    }
    try {
      String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      if (!process.waitFor(30, TimeUnit.SECONDS) || process.exitValue() != 0) {
        log.warn("nvidia-smi failed, so no GPU is used: {}", output.strip());
        return List.of();
      }
      return parse(output);
    } catch (IOException e) {
      log.warn("nvidia-smi failed, so no GPU is used", e);
      return List.of();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return List.of();
    } finally {
      process.destroy();
    }
  }

  /** The GPU that a process with these visible devices calls cuda:0. */
  public static Optional<Gpu> first(String visibleDevices) {
    List<Gpu> gpus = gpus();
    String first = visibleDevices.split(",", -1)[0].strip();
    return gpus.stream()
        .filter(gpu -> Integer.toString(gpu.getIndex()).equals(first))
        .findFirst()
        .or(() -> gpus.stream().findFirst());
  }

  static List<Gpu> parse(String csv) {
    List<Gpu> gpus = new ArrayList<>();
    for (String line : csv.lines().toList()) {
      String[] fields = line.split(",", -1);
      if (fields.length != 5) {
        continue;
      }
      try {
        gpus.add(
            Gpu.newBuilder()
                .setIndex(Integer.parseInt(fields[0].strip()))
                .setModel(fields[1].strip())
                .setMemoryBytes(Long.parseLong(fields[2].strip()) << 20)
                .setComputeCapability(fields[3].strip())
                .setDriver(fields[4].strip())
                .build());
      } catch (NumberFormatException e) {
        log.warn("nvidia-smi's line \"{}\" is not understood; that GPU is not used", line);
      }
    }
    return gpus;
  }
}
