package dev.baton.worker;

import static dev.baton.worker.testing.Eventually.await;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.Machine;
import dev.baton.worker.natives.ElfWriter;
import dev.baton.worker.testing.FakeCoordinator;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The worker, as a process of its own, on a machine whose GPU's driver is too old. */
@Timeout(120)
class UnusableGpuTest {
  @TempDir Path dir;

  @Test
  void itIsRefusedUnlessCpusWillDo() throws Exception {
    Path programs = Files.createDirectory(dir.resolve("programs"));
    Path driver = programs.resolve("nvidia-smi");
    Files.writeString(driver, "#!/bin/sh\necho '0, Tesla K80, 11441, 3.7, 470.256.02'\n");
    Files.setPosixFilePermissions(driver, PosixFilePermissions.fromString("rwxr-xr-x"));
    Path natives = Files.createDirectory(dir.resolve("natives"));
    // The build for CUDA 13, with all that it needs beside it.
    new ElfWriter().needs("libcudart.so.13").write(natives.resolve("libtorch_cpu.so"));
    for (String name :
        List.of("libcudart.so.13", "libtorch_cuda.so", "libjnijavacpp.so", "libjnitorch.so")) {
      new ElfWriter().write(natives.resolve(name));
    }
    Files.writeString(dir.resolve("token"), FakeCoordinator.TOKEN);

    try (var coordinator = new FakeCoordinator(100, 2_000)) {
      Process refused = start(coordinator);
      assertThat(refused.waitFor(60, TimeUnit.SECONDS)).isTrue();
      assertThat(refused.exitValue()).isEqualTo(1);
      assertThat(Files.readString(dir.resolve("err")).lines().filter(l -> l.startsWith("error:")))
          .singleElement()
          .asString()
          .contains("Tesla K80: driver 470.256.02 is too old", "--allow-cpu");
      assertThat(Files.readString(dir.resolve("err"))).doesNotContain("\tat ");

      Process onCpus = start(coordinator, "--allow-cpu");
      try {
        await("a session", () -> !coordinator.copy(coordinator.hellos).isEmpty());
        Machine offered = coordinator.copy(coordinator.hellos).get(0).getMachine();
        assertThat(offered.getCpus()).isPositive();
        assertThat(offered.getGpusList()).as("jobs get no GPU that cannot be used").isEmpty();
      } finally {
        onCpus.descendants().forEach(ProcessHandle::destroyForcibly);
        onCpus.destroyForcibly().waitFor();
      }
    }
  }

  private Process start(FakeCoordinator coordinator, String... more) throws IOException {
    List<String> line = new ArrayList<>();
    line.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    line.addAll(List.of("-Xmx64m", "-XX:+UseSerialGC", "-Dbaton.natives=" + dir + "/natives"));
    line.addAll(List.of("-cp", System.getProperty("java.class.path")));
    line.add(WorkerWithFakeTrainers.class.getName());
    line.addAll(List.of("worker", "--coordinator", coordinator.address(), "--spot", "none"));
    line.addAll(List.of("--token-file", dir.resolve("token").toString()));
    line.addAll(List.of("--work-dir", dir.resolve("work").toString()));
    line.addAll(List.of(more));
    var builder = new ProcessBuilder(line).redirectErrorStream(true);
    builder.environment().merge("PATH", dir.resolve("programs") + ":", (path, own) -> own + path);
    return builder.redirectOutput(dir.resolve("err").toFile()).start();
  }
}
