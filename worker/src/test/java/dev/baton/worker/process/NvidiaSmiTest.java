package dev.baton.worker.process;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.Gpu;
import org.junit.jupiter.api.Test;

class NvidiaSmiTest {

  @Test
  void readsWhatNvidiaSmiPrints() {
    assertThat(
            NvidiaSmi.parse(
                "0, NVIDIA H200, 143771, 9.0, 580.65.06\n1, Tesla T4, 15360, 7.5, 550.54.15\n"))
        .containsExactly(
            gpu(0, "NVIDIA H200", 143771L << 20, "9.0", "580.65.06"),
            gpu(1, "Tesla T4", 15360L << 20, "7.5", "550.54.15"));
    assertThat(NvidiaSmi.parse("No devices were found")).isEmpty();
    assertThat(NvidiaSmi.parse("")).isEmpty();
  }

  @Test
  void whereNoneAreVisibleNobodyIsAsked() {
    assertThat(NvidiaSmi.gpus("")).isEmpty();
    assertThat(NvidiaSmi.gpus("-1")).isEmpty();
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
