package dev.baton.deploy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/**
 * A control group whose processes may use so much memory and no more, version 1 or 2 (see
 * cgroups(7)). Making one takes root and a writable hierarchy.
 */
final class MemoryCgroup implements AutoCloseable {
  private static final Path ROOT = Path.of("/sys/fs/cgroup");
  private static final Path VERSION_1 = ROOT.resolve("memory");
  private static final long GONE_SECONDS = 10;

  private final Path dir;

  private MemoryCgroup(Path dir) {
    this.dir = dir;
  }

  /** A new one; empty where this machine lets nobody make it. */
  static Optional<MemoryCgroup> create(long bytes) throws IOException, InterruptedException {
    for (Path parent : parents()) {
      Path dir = parent.resolve("baton-" + ProcessHandle.current().pid() + "-" + System.nanoTime());
      try {
        Files.createDirectory(dir);
      } catch (IOException e) {
        continue;
      }
      if (limit(dir, bytes) && joinable(dir)) {
        return Optional.of(new MemoryCgroup(dir));
      }
      Files.delete(dir);
    }
    return Optional.empty();
  }

  // Below the own group first, so that its limits stay in force.
  private static List<Path> parents() throws IOException {
    List<Path> parents = new ArrayList<>();
    Path membership = Path.of("/proc/self/cgroup");
    List<String> lines = Files.exists(membership) ? Files.readAllLines(membership) : List.of();
    for (String line : lines) {
      String[] fields = line.split(":", 3);
      String path = fields[2].substring(1);
      if (List.of(fields[1].split(",", -1)).contains("memory")) {
        parents.add(VERSION_1.resolve(path));
        parents.add(VERSION_1);
      } else if (fields[1].isEmpty()) {
        parents.add(ROOT.resolve(path));
        parents.add(ROOT);
      }
    }
    return parents;
  }

  private static boolean limit(Path dir, long bytes) {
    boolean limited = write(dir.resolve("memory.max"), bytes);
    if (limited) {
      write(dir.resolve("memory.swap.max"), 0);
    } else {
      limited = write(dir.resolve("memory.limit_in_bytes"), bytes);
      write(dir.resolve("memory.memsw.limit_in_bytes"), bytes);
    }
    return limited;
  }

  // Not created: in a folder that is no control group nothing may be left behind.
  private static boolean write(Path file, long value) {
    try {
      Files.writeString(file, Long.toString(value), StandardOpenOption.WRITE);
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  private static boolean joinable(Path dir) throws IOException, InterruptedException {
    return new ProcessBuilder("sh", "-c", "[ -e \"$0\" ] && echo $$ > \"$0\"", procs(dir))
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start()
            .waitFor()
        == 0;
  }

  private static String procs(Path dir) {
    return dir.resolve("cgroup.procs").toString();
  }

  /** The command that runs another one, and all that it starts, in here. */
  List<String> command(List<String> command) {
    List<String> line = new ArrayList<>();
    line.addAll(List.of("sh", "-c", "echo $$ > \"$0\" && exec \"$@\"", procs(dir)));
    line.addAll(command);
    return line;
  }

  /** Removes it, once its processes are gone. */
  @Override
  public void close() throws IOException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(GONE_SECONDS);
    while (true) {
      try {
        Files.delete(dir);
        return;
      } catch (IOException e) {
        if (System.nanoTime() > end) {
          throw e;
        }
        Thread.onSpinWait();
      }
    }
  }
}
