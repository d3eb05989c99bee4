package dev.baton.worker.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.Gpu;
import dev.baton.v1.Machine;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MachineProbeTest {

  @Test
  void readsWhatNvidiaSmiPrints() {
    assertThat(
            MachineProbe.parseGpus(
                "0, NVIDIA H200, 143771, 9.0, 580.65.06\n1, Tesla T4, 15360, 7.5, 550.54.15\n"))
        .containsExactly(
            gpu(0, "NVIDIA H200", 143771L << 20, "9.0", "580.65.06"),
            gpu(1, "Tesla T4", 15360L << 20, "7.5", "550.54.15"));
    assertThat(MachineProbe.parseGpus("No devices were found")).isEmpty();
    assertThat(MachineProbe.parseGpus("")).isEmpty();
  }

  @Test
  void declaresThisMachine(@TempDir Path dir) throws IOException {
    Machine machine = MachineProbe.probe(dir, 0);
    assertThat(machine.getCpus()).isEqualTo(Runtime.getRuntime().availableProcessors());
    assertThat(machine.getMemoryBytes()).isGreaterThan(64L << 20);
    assertThat(machine.getDiskBytes()).isPositive();
    assertThat(machine.getLibtorch()).startsWith("2.");
    assertThat(machine.getCpuModel()).isNotEmpty();
    assertThat(MachineProbe.probe(dir, 3).getCpus()).isEqualTo(3);
  }

  private static Gpu gpu(int index, String model, long memory, String capability, String driver) {
    return Gpu.newBuilder()
        .setIndex(index)
        .setModel(model)
        .setMemoryBytes(memory)
        .setComputeCapability(capability)
        .setDriver(driver)
        .build();
  }
}
