package dev.baton.worker.daemon;

import com.sun.management.OperatingSystemMXBean;
import dev.baton.v1.Machine;
import dev.baton.worker.process.NvidiaSmi;
import java.io.IOException;
import java.io.InputStream;
import java.lang.management.ManagementFactory;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What this host has. Processors and memory are those of the container, where there is one. */
public final class MachineProbe {
  private static final Logger log = LoggerFactory.getLogger(MachineProbe.class);

  private static final String LIBTORCH_VERSION =
      "/META-INF/maven/org.bytedeco/pytorch/pom.properties";

  private MachineProbe() {}

  /**
   * Looks.
   *
   * @param workDir in whose file system the free space counts
   * @param cpus what to declare instead of what is there; 0 for what is there
   */
  public static Machine probe(Path workDir, int cpus) throws IOException {
    Machine.Builder machine =
        Machine.newBuilder()
            .setHostname(hostname())
            .setOs(System.getProperty("os.name") + " " + System.getProperty("os.version"))
            .setCpuModel(cpuModel())
            .setCpus(cpus > 0 ? cpus : Runtime.getRuntime().availableProcessors())
            .setDiskBytes(Files.getFileStore(workDir).getUsableSpace())
            .addAllGpus(NvidiaSmi.gpus(System.getenv("CUDA_VISIBLE_DEVICES")))
            .setLibtorch(libtorch())
            .setJava(System.getProperty("java.version"));
    if (ManagementFactory.getOperatingSystemMXBean() instanceof OperatingSystemMXBean system) {
      machine.setMemoryBytes(system.getTotalMemorySize());
    }
    return machine.build();
  }

  /** This host's name; {@code worker} where it has none. */
  public static String hostname() {
    try {
      Path file = Path.of("/proc/sys/kernel/hostname");
      String name = Files.isReadable(file) ? Files.readString(file).strip() : "";
      return name.isEmpty() ? InetAddress.getLocalHost().getHostName() : name;
    } catch (UnknownHostException e) {
      return "worker";
    } catch (IOException e) {
      log.debug("no hostname", e);
      return "worker";
    }
  }

  private static String cpuModel() {
    try {
      for (String line : Files.readAllLines(Path.of("/proc/cpuinfo"))) {
        if (line.startsWith("model name")) {
          return line.substring(line.indexOf(':') + 1).strip();
        }
      }
    } catch (IOException e) {
      log.debug("no /proc/cpuinfo", e);
    }
    return String.valueOf(System.getProperty("os.arch"));
  }

  // The jar's own version; trainers say which library they have loaded.
  private static String libtorch() throws IOException {
    try (InputStream in = MachineProbe.class.getResourceAsStream(LIBTORCH_VERSION)) {
      if (in == null) {
        return "";
      }
      Properties properties = new Properties();
      properties.load(in);
      return properties.getProperty("version", "");
    }
  }
}
