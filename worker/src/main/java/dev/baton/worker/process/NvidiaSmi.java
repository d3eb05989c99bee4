package dev.baton.worker.process;

import dev.baton.v1.Gpu;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The machine's NVIDIA GPUs, as the driver's own tool lists them; none where it is not there. */
public final class NvidiaSmi {
  private static final Logger log = LoggerFactory.getLogger(NvidiaSmi.class);

  private static final long WAIT_SECONDS = 20;

  private NvidiaSmi() {}

  /** Every GPU of the machine, whatever CUDA_VISIBLE_DEVICES says. */
  public static List<Gpu> gpus() {
    return gpus(List.of());
  }

  /**
   * Those of the machine's GPUs that this process may use.
   *
   * @param visibleDevices CUDA_VISIBLE_DEVICES, indices or UUIDs; null where it is not set
   */
  public static List<Gpu> gpus(@Nullable String visibleDevices) {
    if (visibleDevices == null) {
      return gpus();
    }
    String devices = visibleDevices.strip();
    return devices.isEmpty() || devices.startsWith("-")
        ? List.of()
        : gpus(List.of("--id=" + devices));
  }

  private static List<Gpu> gpus(List<String> which) {
    return parse(query("index,name,memory.total,compute_cap,driver_version", which));
  }

  /** Memory in bytes that nothing uses on the GPU called cuda:0; 0 where nobody knows. */
  public static long freeBytes(String visibleDevices) {
    String first = visibleDevices.split(",", -1)[0].strip();
    for (String line : query("index,memory.free", List.of()).lines().toList()) {
      String[] fields = line.split(",", -1);
      if (fields.length == 2 && fields[0].strip().equals(first)) {
        try {
          return Long.parseLong(fields[1].strip()) << 20;
        } catch (NumberFormatException e) {
          return 0;
        }
      }
    }
    return 0;
  }

  /** The driver's answer, a line for each GPU; empty where there is none. */
  private static String query(String fields, List<String> which) {
    List<String> line =
        new ArrayList<>(
            List.of("nvidia-smi", "--query-gpu=" + fields, "--format=csv,noheader,nounits"));
    line.addAll(which);
    try {
      Process query = new ProcessBuilder(line).start();
      try {
        // Its answer is short enough for a pipe, so that it can be waited for first.
        if (!query.waitFor(WAIT_SECONDS, TimeUnit.SECONDS)) {
          log.warn("nvidia-smi does not answer within {} s; no GPU is offered", WAIT_SECONDS);
          return "";
        }
        String answer =
            new String(query.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        if (query.exitValue() != 0) {
          log.warn("nvidia-smi fails, no GPU is offered: {}", answer);
          return "";
        }
        return answer;
      } finally {
        query.destroyForcibly();
      }
    } catch (IOException e) {
      // No nvidia-smi: no GPU.
      log.debug("no GPU", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return "";
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

  /** Reads {@code nvidia-smi}'s answer; lines that are none are left out, with a warning. */
  static List<Gpu> parse(String csv) {
    List<Gpu> gpus = new ArrayList<>();
    for (String line : csv.lines().filter(l -> !l.isBlank()).toList()) {
      String[] fields = line.split(",", -1);
      try {
        gpus.add(
            Gpu.newBuilder()
                .setIndex(Integer.parseInt(fields[0].strip()))
                .setModel(fields[1].strip())
                .setMemoryBytes(Long.parseLong(fields[2].strip()) << 20)
                .setComputeCapability(fields[3].strip())
                .setDriver(fields[4].strip())
                .build());
      } catch (NumberFormatException | ArrayIndexOutOfBoundsException e) {
        log.warn("nvidia-smi says '{}', which is no GPU", line);
      }
    }
    return gpus;
  }
}
