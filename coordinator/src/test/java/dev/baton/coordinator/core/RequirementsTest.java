package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.Gpu;
import dev.baton.v1.Machine;
import org.junit.jupiter.api.Test;

final class RequirementsTest {

  private static Machine.Builder machine(String libtorch) {
    return Machine.newBuilder()
        .setCpuModel("EPYC")
        .setCpus(4)
        .setMemoryBytes(8L << 30)
        .setLibtorch(libtorch);
  }

  private static Requirements needs(String kind) {
    return new Requirements(-1, 1, 1L << 30, kind, 1, 1);
  }

  private static String kind(String libtorch) {
    return needs("").kindOn(machine(libtorch).build());
  }

  @Test
  void aLibtorchThatIsNotKnownYetMayBeAny() {
    assertThat(Requirements.mayBeSame(kind(""), kind("2.10"))).isTrue();
    assertThat(Requirements.mayBeSame(kind("2.10"), kind(""))).isTrue();
    assertThat(Requirements.mayBeSame(kind(""), kind(""))).isTrue();
    assertThat(Requirements.mayBeSame(kind("2.10"), kind("2.10"))).isTrue();
  }

  @Test
  void otherVersionsAndProcessorsAreOthers() {
    String gpu =
        needs("").kindOn(machine("").addGpus(Gpu.newBuilder().setModel("Tesla T4")).build());
    assertThat(Requirements.mayBeSame(kind("2.1"), kind("2.10"))).isFalse();
    assertThat(Requirements.mayBeSame(kind("2.10"), kind("2.9"))).isFalse();
    assertThat(Requirements.mayBeSame(gpu, kind("2.10"))).isFalse();
    assertThat(Requirements.mayBeSame(gpu, kind(""))).isFalse();
  }

  @Test
  void aJobThatWantsItsKindAgainTakesAWorkerThatMayHaveIt() {
    Requirements again = needs(kind("2.10"));
    assertThat(again.lackedBy(machine("").build())).isEmpty();
    assertThat(again.lackedBy(machine("2.10").build())).isEmpty();
    assertThat(again.lackedBy(machine("2.9").build()))
        .contains("wants the same kind, EPYC libtorch 2.10; it is EPYC libtorch 2.9");
  }
}
