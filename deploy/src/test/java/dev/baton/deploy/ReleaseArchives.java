package dev.baton.deploy;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.stream.Stream;

/** The release archives of what was just built, made once for all tests. */
final class ReleaseArchives {
  private ReleaseArchives() {}

  /** The folder they are in, with SHA256SUMS; skips the tests where no JDK is to make them with. */
  static synchronized Path build() throws IOException, InterruptedException {
    assumeTrue(hasJdk(), "no Temurin JDK to make a runtime from");
    Path folder = LocalCluster.root().resolve("deploy/target/test-release");
    // Tests run in several processes.
    try (FileChannel channel =
            FileChannel.open(
                folder.resolveSibling("test-release.lock"),
                StandardOpenOption.CREATE,
                StandardOpenOption.WRITE);
        FileLock lock = channel.lock()) {
      build(folder, log());
    }
    return folder;
  }

  /** What {@code deploy/release} said. */
  static Path log() {
    return LocalCluster.root().resolve("deploy/target/test-release.log");
  }

  private static void build(Path folder, Path log) throws IOException, InterruptedException {
    if (!upToDate(folder.resolve("SHA256SUMS"))) {
      // The fastest compression takes a quarter of the time.
      Process process =
          new ProcessBuilder(
                  LocalCluster.root().resolve("deploy/release").toString(),
                  "--no-build",
                  "--level",
                  "1",
                  "--out",
                  folder.toString())
              .redirectErrorStream(true)
              .redirectOutput(log.toFile())
              .start();
      if (process.waitFor() != 0) {
        throw new IOException("deploy/release failed:\n" + Files.readString(log));
      }
    }
  }

  private static boolean hasJdk() throws IOException {
    Path jdks = Path.of("/usr/lib/jvm");
    if (System.getenv("BATON_RELEASE_JDK") != null) {
      return true;
    }
    if (!Files.isDirectory(jdks)) {
      return false;
    }
    try (Stream<Path> found = Files.list(jdks)) {
      return found.anyMatch(jdk -> jdk.getFileName().toString().startsWith("temurin-"));
    }
  }

  private static boolean upToDate(Path sums) throws IOException {
    if (!Files.exists(sums)) {
      return false;
    }
    FileTime built = Files.getLastModifiedTime(sums);
    for (String source :
        List.of(
            "deploy/release",
            "deploy/bin",
            "pom.xml",
            "client/target",
            "coordinator/target",
            "worker/target")) {
      try (Stream<Path> files = Files.walk(LocalCluster.root().resolve(source), 2)) {
        for (Path file : files.toList()) {
          boolean packed = !source.endsWith("target") || file.toString().endsWith(".jar");
          if (packed && Files.getLastModifiedTime(file).compareTo(built) > 0) {
            return false;
          }
        }
      }
    }
    return true;
  }
}
