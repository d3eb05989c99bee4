package dev.baton.worker.process;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The records of processes that the kernel killed because memory ran out. */
public final class OutOfMemoryKills {
  private static final Logger log = LoggerFactory.getLogger(OutOfMemoryKills.class);

  private final Path cgroups;
  private final Path membership;

  public OutOfMemoryKills() {
    this(Path.of("/sys/fs/cgroup"), Path.of("/proc/self/cgroup"));
  }

  OutOfMemoryKills(Path cgroups, Path membership) {
    this.cgroups = cgroups;
    this.membership = membership;
  }

  /** How many the own cgroup has recorded; 0 where it keeps no record. */
  public long count() {
    try {
      if (!Files.isReadable(membership)) {
        return 0;
      }
      for (String line : Files.readAllLines(membership)) {
        // "hierarchy:controllers:path"; version 2 has no controllers.
        String[] fields = line.split(":", 3);
        if (fields.length != 3) {
          continue;
        }
        String path = fields[2].startsWith("/") ? fields[2].substring(1) : fields[2];
        if (fields[1].isEmpty()) {
          OptionalLong kills = read(cgroups, path, "memory.events");
          if (kills.isPresent()) {
            return kills.getAsLong();
          }
        } else if (List.of(fields[1].split(",")).contains("memory")) {
          OptionalLong kills = read(cgroups.resolve("memory"), path, "memory.oom_control");
          if (kills.isPresent()) {
            return kills.getAsLong();
          }
        }
      }
    } catch (IOException e) {
      log.debug("no cgroup record of kills for memory", e);
    }
    return 0;
  }

  /** Whether the kernel's log names this process, where it may be read. */
  public boolean kernelLogNames(long pid) {
    try {
      Process dmesg = new ProcessBuilder("dmesg").redirectErrorStream(true).start();
      try {
        dmesg.getOutputStream().close();
        String text = new String(dmesg.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return dmesg.waitFor(1, TimeUnit.SECONDS) && text.contains("Killed process " + pid + " ");
      } finally {
        dmesg.destroyForcibly();
      }
    } catch (IOException e) {
      log.debug("the kernel's log cannot be read", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return false;
  }

  // Inside a container the own cgroup is often mounted as the root.
  private static OptionalLong read(Path root, String path, String name) throws IOException {
    for (Path file : List.of(root.resolve(path).resolve(name), root.resolve(name))) {
      if (Files.isReadable(file)) {
        for (String line : Files.readAllLines(file)) {
          if (line.startsWith("oom_kill ")) {
            return OptionalLong.of(Long.parseLong(line.substring("oom_kill ".length()).strip()));
          }
        }
      }
    }
    return OptionalLong.empty();
  }
}
