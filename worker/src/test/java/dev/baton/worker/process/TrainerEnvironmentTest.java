package dev.baton.worker.process;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class TrainerEnvironmentTest {

  @Test
  void threadsReachOpenMpAndOpenBlas() {
    assertThat(TrainerEnvironment.variables(3))
        .containsEntry("OMP_NUM_THREADS", "3")
        .containsEntry("OPENBLAS_NUM_THREADS", "3")
        .containsEntry("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
    assertThatThrownBy(() -> TrainerEnvironment.variables(0))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
