package dev.baton.worker.trainer;

import dev.baton.v1.JobSpec;
import dev.baton.v1.Run;
import dev.baton.worker.trainer.MemoryData.Pass;
import dev.baton.worker.trainer.torch.TorchEngines;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * The trainer process as it is, but for the data: made-up pictures, of which batches come no faster
 * than a file beside its folder says.
 */
final class GangTrainerMain {
  /** Long enough that what a test does finds a run under way. */
  private static final long BATCH_NANOS = TimeUnit.MILLISECONDS.toNanos(4);

  private static final String LIMIT = "limit";

  private GangTrainerMain() {}

  public static void main(String[] args) {
    TrainerMain.main(args, TorchEngines::load, GangTrainerMain::data);
  }

  /** Lets all trainers whose folders are in that one make steps up to the limit. */
  static void limit(Path dir, long step) throws IOException {
    Path next = dir.resolve(LIMIT + ".next");
    Files.writeString(next, Long.toString(step));
    Files.move(
        next,
        dir.resolve(LIMIT),
        java.nio.file.StandardCopyOption.ATOMIC_MOVE,
        java.nio.file.StandardCopyOption.REPLACE_EXISTING);
  }

  private static MemoryData data(Run run) {
    JobSpec spec = run.getSpec();
    boolean digits = spec.getModel().getBuiltin().getName().equals("mnist-cnn");
    Path limit = Path.of(run.getAttemptDir()).resolveSibling(LIMIT);
    return new MemoryData(
        spec,
        new MemoryData.Pictures(GangTrainersTest.SAMPLES, digits ? 1 : 3, digits ? 14 : 32),
        (pass, batch) -> {
          LockSupport.parkNanos(BATCH_NANOS);
          while (pass == Pass.TRAIN && batch > read(limit)) {
            LockSupport.parkNanos(BATCH_NANOS);
          }
        });
  }

  private static long read(Path limit) {
    try {
      return Long.parseLong(Files.readString(limit));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
