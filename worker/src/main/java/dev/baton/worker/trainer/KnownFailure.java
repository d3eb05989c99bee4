package dev.baton.worker.trainer;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.TrainerFailed;
import dev.baton.worker.cache.LocalDisk;
import dev.baton.worker.checkpoint.CheckpointException;
import java.io.IOException;
import java.nio.file.Path;

/** What a failure means for the attempt. */
final class KnownFailure {
  private KnownFailure() {}

  /**
   * The report of a known failure.
   *
   * @param step the last one complete
   * @param dir where the attempt's files lie
   * @throws RuntimeException the failure itself, where it is not known: a defect
   */
  static TrainerFailed of(Throwable e, long step, Path dir) {
    TrainerFailed.Builder failed = TrainerFailed.newBuilder().setStep(step);
    String message = firstLine(e);
    if (e instanceof TrainingException training) {
      failed.setOutcome(training.outcome());
    } else if (e instanceof OutOfMemoryError || isNativeOutOfMemory(message)) {
      failed.setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_OUT_OF_MEMORY);
      message = "out of memory: " + message;
    } else if (e instanceof CheckpointException checkpoint) {
      // What a newer release wrote is left for a worker that runs it.
      failed
          .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR)
          .setUnusableCheckpoint(!checkpoint.ofAnotherRelease());
    } else if (LocalDisk.isFull(e)) {
      failed.setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR);
      message = LocalDisk.full("what the attempt writes", dir);
    } else if (e instanceof IOException) {
      failed.setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR);
      message = e.getClass().getSimpleName() + ": " + message;
    } else if (e instanceof RuntimeException runtime) {
      throw runtime;
    } else {
      throw new IllegalStateException(e);
    }
    return failed.setMessage(message).build();
  }

  /** As c10 says it, for GPUs and for the host. */
  private static boolean isNativeOutOfMemory(String message) {
    return message.contains("CUDA out of memory")
        || message.contains("not enough memory: you tried to allocate")
        || message.contains("can't allocate memory");
  }

  private static String firstLine(Throwable e) {
    String message = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
    return message.lines().findFirst().orElse("");
  }
}
