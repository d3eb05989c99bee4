package dev.baton.worker.trainer.torch;

import dev.baton.v1.AttemptOutcome;
import dev.baton.worker.trainer.TrainingException;
import java.util.regex.Pattern;

/** Tells libtorch's exceptions apart, by c10's messages: there are no types to go by. */
final class TorchErrors {
  private static final Pattern OUT_OF_MEMORY =
      Pattern.compile(
          "CUDA out of memory|CUDA error: out of memory"
              + "|(CUDNN|CUBLAS)_STATUS_\\w*ALLOC(ATION)?_FAILED"
              + "|DefaultCPUAllocator: (can't allocate|not enough) memory|std::bad_alloc");

  private TorchErrors() {}

  /**
   * What a failure while computing means for the attempt. JavaCPP throws RuntimeException with the
   * native message for every C++ exception.
   *
   * @param what it happened at: "step 3"
   * @param shapes of what went in
   */
  static TrainingException classify(String what, String shapes, RuntimeException e) {
    if (e instanceof TrainingException known) {
      return known;
    }
    if (e.getClass() != RuntimeException.class) {
      return new TrainingException(AttemptOutcome.ATTEMPT_OUTCOME_CRASHED, what + ": " + e, e);
    }
    String line = firstLine(e);
    if (OUT_OF_MEMORY.matcher(line).find()) {
      return new TrainingException(
          AttemptOutcome.ATTEMPT_OUTCOME_OUT_OF_MEMORY,
          what + " ran out of memory: " + line + " A smaller batch or model would need less.",
          e);
    }
    if (line.contains("CUDA error")
        || line.contains("cuDNN error")
        || line.contains("CUBLAS_STATUS")) {
      return new TrainingException(AttemptOutcome.ATTEMPT_OUTCOME_CRASHED, what + ": " + line, e);
    }
    return new TrainingException(
        AttemptOutcome.ATTEMPT_OUTCOME_USER_ERROR, what + " with " + shapes + ": " + line, e);
  }

  /** c10's message without its backtrace. */
  static String firstLine(RuntimeException e) {
    String message = e.getMessage();
    return message == null ? e.toString() : message.lines().findFirst().orElse("").strip();
  }
}
