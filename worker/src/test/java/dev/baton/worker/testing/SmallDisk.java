package dev.baton.worker.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Assumptions;

/** A file system of few MiB in memory. */
public final class SmallDisk implements AutoCloseable {
  private static final int CHUNK = 4 << 10;

  private final Path dir;

  private SmallDisk(Path dir) {
    this.dir = dir;
  }

  /** Mounts it at a folder; the test is skipped where that is not allowed. */
  public static SmallDisk at(Path dir, int mebibytes) throws IOException, InterruptedException {
    Files.createDirectories(dir);
    String why;
    try {
      why = run("mount", "-t", "tmpfs", "-o", "size=" + mebibytes + "m", "tmpfs", dir.toString());
    } catch (IOException e) {
      why = e.toString();
    }
    Assumptions.assumeTrue(why.isEmpty(), "no file system can be mounted here: " + why);
    return new SmallDisk(dir);
  }

  private static String run(String... command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(List.of(command)).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return process.waitFor() == 0 ? "" : "exit " + process.exitValue() + " " + said.strip();
  }

  public Path dir() {
    return dir;
  }

  /** Takes all the room that there is. */
  public void fill() throws IOException {
    try (RandomAccessFile filler = new RandomAccessFile(filler().toFile(), "rw")) {
      filler.seek(filler.length());
      byte[] bytes = new byte[CHUNK];
      while (true) {
        filler.write(bytes);
      }
    } catch (IOException e) {
      if (Files.getFileStore(dir).getUsableSpace() > 0) {
        throw e;
      }
    }
  }

  /** Gives it back. */
  public void empty() throws IOException {
    Files.deleteIfExists(filler());
  }

  private Path filler() {
    return dir.resolve("filler");
  }

  @Override
  public void close() throws IOException, InterruptedException {
    // Lazily: who has just ended may have a file open there still.
    assertThat(run("umount", "-l", dir.toString())).isEmpty();
  }
}
