package dev.baton.worker.trainer.torch;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * The same classes run on libtorch 2.7, for CUDA 12, whose bindings lack some of those that they
 * name. No native library is loaded.
 */
class OlderLibtorchTest {
  /** Maven puts the older bindings there. */
  private static final Path OLDER = Path.of("target", "libtorch-cuda12");

  /** Run with the older bindings: prints the classes that cannot be linked. */
  static final class Main {
    private Main() {}

    public static void main(String[] args) throws Exception {
      try (Stream<Path> files = Files.list(Path.of(args[0]))) {
        for (Path file : files.sorted().toList()) {
          String name = file.getFileName().toString().replace(".class", "");
          try {
            Class.forName("dev.baton.worker.trainer.torch." + name);
          } catch (LinkageError e) {
            System.out.println(name);
          }
        }
      }
      System.out.println("replicas: " + TorchEngines.replicas());
    }
  }

  @Test
  void oneReplicaNeedsNothingThatItLacks() throws Exception {
    List<String> said = run();
    assertThat(said).last().isEqualTo("replicas: false");
    assertThat(said.subList(0, said.size() - 1))
        .as("what cannot be linked")
        .isNotEmpty()
        .allMatch(
            name -> name.matches("ReplicaGroup(\\$.*)?|NcclBackend|TorchEngines\\$FreeMemory"));
  }

  private static List<String> run() throws IOException, InterruptedException {
    List<String> classPath = new ArrayList<>();
    try (Stream<Path> jars = Files.list(OLDER)) {
      jars.forEach(jar -> classPath.add(jar.toString()));
    }
    assertThat(classPath).as("jars in %s", OLDER).hasSize(2);
    for (String entry : System.getProperty("java.class.path").split(File.pathSeparator, -1)) {
      if (!entry.contains("bytedeco")) {
        classPath.add(entry);
      }
    }
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Dorg.bytedeco.javacpp.loadlibraries=false",
                "-cp",
                String.join(File.pathSeparator, classPath),
                Main.class.getName(),
                Path.of("target", "classes", "dev", "baton", "worker", "trainer", "torch")
                    .toString())
            .redirectErrorStream(true)
            .start();
    List<String> said =
        new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
            .lines()
            .toList();
    assertThat(process.waitFor()).as("%s", said).isZero();
    return said;
  }
}
