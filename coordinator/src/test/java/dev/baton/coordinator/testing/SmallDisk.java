package dev.baton.coordinator.testing;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Assumptions;

/** A file system of a few MiB in memory. Who may not mount one skips the test. */
public final class SmallDisk implements AutoCloseable {
  private final Path folder;

  private SmallDisk(Path folder) {
    this.folder = folder;
  }

  /** Mounts it at {@code folder}, which is made. */
  public static SmallDisk mount(Path folder, int mebibytes) throws Exception {
    Files.createDirectories(folder);
    String why;
    try {
      why = run("mount", "-t", "tmpfs", "-o", "size=" + mebibytes + "m", "tmpfs", folder + "");
    } catch (IOException e) {
      why = e.toString();
    }
    Assumptions.assumeTrue(why.isEmpty(), "no file system can be mounted here: " + why);
    return new SmallDisk(folder);
  }

  /** What the command has to say against it; empty: nothing. */
  private static String run(String... command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(List.of(command)).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return process.waitFor() == 0 ? "" : "exit " + process.exitValue() + " " + said.strip();
  }

  public Path folder() {
    return folder;
  }

  /** Makes it larger or smaller. */
  public void resize(int mebibytes) throws Exception {
    String why = run("mount", "-o", "remount,size=" + mebibytes + "m", folder + "");
    if (!why.isEmpty()) {
      throw new IOException(why);
    }
  }

  @Override
  public void close() throws Exception {
    // Lazily: whoever still has a file open there keeps it from no one else.
    String why = run("umount", "-l", folder + "");
    if (!why.isEmpty()) {
      throw new IOException(why);
    }
  }
}
