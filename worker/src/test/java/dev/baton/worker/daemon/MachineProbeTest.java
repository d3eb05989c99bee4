package dev.baton.worker.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.Machine;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MachineProbeTest {

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
}
