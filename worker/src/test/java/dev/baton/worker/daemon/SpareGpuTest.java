package dev.baton.worker.daemon;

import static dev.baton.worker.testing.Eventually.await;
import static dev.baton.worker.testing.FakeTrainer.job;

import dev.baton.v1.Assignment;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Which GPU a spare trainer waits on. */
@Timeout(120)
class SpareGpuTest {
  @TempDir Path dir;

  @Test
  void whereAJobIsToBeStagedThatWasPreparedTheSpareKeepsTheGpu() throws Exception {
    try (TestWorker worker = new TestWorker(dir, 2, 2)) {
      Assignment whole = worker.coordinator.assignment("j", job("finish", 5, 2, 0, 0));
      worker.coordinator.prepare(whole);
      await("it has a trainer and there is a spare", () -> gpus().equals(List.of("0", "0")));
      worker.coordinator.prepare(whole.toBuilder().setStageOnly(true).build());
      await("the spare alone is left", () -> gpus().equals(List.of("0")));
    }
  }

  private static List<String> gpus() {
    return ProcessHandle.current().descendants().map(SpareGpuTest::gpu).toList();
  }

  // Empty where it has just ended, or begun.
  private static String gpu(ProcessHandle trainer) {
    try {
      String environment = Files.readString(Path.of("/proc/" + trainer.pid() + "/environ"));
      return Arrays.stream(environment.split("\0", -1))
          .filter(entry -> entry.startsWith("CUDA_VISIBLE_DEVICES="))
          .map(entry -> entry.substring(entry.indexOf('=') + 1))
          .findFirst()
          .orElse("");
    } catch (IOException e) {
      return "";
    }
  }
}
