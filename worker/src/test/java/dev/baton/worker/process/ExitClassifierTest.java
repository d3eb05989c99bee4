package dev.baton.worker.process;

import static dev.baton.v1.AttemptOutcome.ATTEMPT_OUTCOME_CRASHED;
import static dev.baton.v1.AttemptOutcome.ATTEMPT_OUTCOME_KILLED;
import static dev.baton.v1.AttemptOutcome.ATTEMPT_OUTCOME_OUT_OF_MEMORY;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.AttemptOutcome;
import org.junit.jupiter.api.Test;

class ExitClassifierTest {

  @Test
  void sigkillIsAKillUnlessMemoryRanOut() {
    assertThat(outcome(137, false, "")).isEqualTo(ATTEMPT_OUTCOME_KILLED);
    assertThat(outcome(137, true, "")).isEqualTo(ATTEMPT_OUTCOME_OUT_OF_MEMORY);
    assertThat(outcome(143, false, "")).isEqualTo(ATTEMPT_OUTCOME_KILLED);
    // Printed once, survived, then killed for another reason.
    assertThat(outcome(137, false, "CUDA out of memory, retrying"))
        .isEqualTo(ATTEMPT_OUTCOME_KILLED);
  }

  @Test
  void signalsOfNativeCodeAreCrashes() {
    for (int signal : new int[] {4, 6, 7, 8, 11, 31}) {
      assertThat(outcome(128 + signal, false, "")).isEqualTo(ATTEMPT_OUTCOME_CRASHED);
    }
    assertThat(message(139, "")).contains("SIGSEGV");
  }

  @Test
  void hotspotsReportNamesTheSignalAndTheFrame() {
    String log =
        """
        step 7
        #
        # A fatal error has been detected by the Java Runtime Environment:
        #
        #  SIGSEGV (0xb) at pc=0x00007f, pid=1, tid=2
        #
        # Problematic frame:
        # C  [libtorch_cpu.so+0x1234]  at::native::conv+0x1
        #
        """;
    assertThat(message(134, log))
        .contains("SIGSEGV", "libtorch_cpu.so+0x1234")
        .doesNotContain("SIGABRT");
  }

  @Test
  void c10AndTheJvmSayWhenMemoryRunsOut() {
    assertThat(outcome(1, false, "x\nCUDA out of memory. Tried to allocate 2.00 GiB\ny"))
        .isEqualTo(ATTEMPT_OUTCOME_OUT_OF_MEMORY);
    assertThat(outcome(134, false, "terminate: DefaultCPUAllocator: can't allocate memory"))
        .isEqualTo(ATTEMPT_OUTCOME_OUT_OF_MEMORY);
    assertThat(outcome(3, false, "Terminating due to java.lang.OutOfMemoryError: Java heap space"))
        .isEqualTo(ATTEMPT_OUTCOME_OUT_OF_MEMORY);
  }

  @Test
  void anyOtherEndIsACrashThatQuotesTheLastLine() {
    assertThat(outcome(1, false, "")).isEqualTo(ATTEMPT_OUTCOME_CRASHED);
    assertThat(outcome(0, false, "")).isEqualTo(ATTEMPT_OUTCOME_CRASHED);
    assertThat(message(1, "a\nlast words\n\n")).contains("code 1", "last words");
    assertThat(message(1, "x".repeat(5_000))).hasSizeLessThan(600).doesNotContain("\n");
  }

  private static AttemptOutcome outcome(int code, boolean memory, String log) {
    return ExitClassifier.classify(new TrainerExit(code, memory, log)).outcome();
  }

  private static String message(int code, String log) {
    return ExitClassifier.classify(new TrainerExit(code, false, log)).message();
  }
}
