package dev.baton.worker.process;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class TrainerEnvironmentTest {

  @Test
  void threadsReachOpenMpAndOpenBlas() {
    assertThat(TrainerEnvironment.variables(3))
        .containsEntry("OMP_NUM_THREADS", "3")
        .containsEntry("OPENBLAS_NUM_THREADS", "3")
        .containsEntry("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        .containsEntry("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
    assertThatThrownBy(() -> TrainerEnvironment.variables(0))
        .isInstanceOf(IllegalArgumentException.class);
  }

  private static Process run(Map<String, String> environment, String... line) throws IOException {
    ProcessBuilder builder =
        new ProcessBuilder(TrainerEnvironment.asBatchWork(List.of(line))).redirectErrorStream(true);
    builder.environment().putAll(environment);
    return builder.start();
  }

  private static String said(Process process) throws IOException {
    return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
  }

  @Test
  void batchWorkIsTheSameProcess() throws Exception {
    assumeTrue(Files.isExecutable(Path.of("/usr/bin/chrt")), "there is no /usr/bin/chrt");
    Process process = run(Map.of(), "/bin/sh", "-c", "cat /proc/$$/stat; exit 7");
    String stat = said(process);
    assertThat(process.waitFor()).isEqualTo(7);
    assertThat(stat).startsWith(process.pid() + " (sh) ");
    // proc(5): policy is field 41; the second one ends with the parenthesis. sched.h: SCHED_BATCH.
    assertThat(stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1)[38]).isEqualTo("3");
  }

  @Test
  void withoutChrtItRunsAllTheSame() throws Exception {
    Process process = run(Map.of("PATH", "/nowhere"), "/bin/echo", "a  blank", "$HOME", "'");
    assertThat(said(process)).isEqualTo("a  blank $HOME '\n");
    assertThat(process.waitFor()).isZero();
  }
}
