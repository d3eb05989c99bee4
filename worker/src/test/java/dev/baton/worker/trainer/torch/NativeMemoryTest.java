package dev.baton.worker.trainer.torch;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.JobSpec;
import dev.baton.worker.data.Batch;
import dev.baton.worker.trainer.Engine;
import dev.baton.worker.trainer.Engine.Sums;
import dev.baton.worker.trainer.Engine.Totals;
import java.nio.ByteBuffer;
import java.util.List;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Thousands of steps, evaluations, snapshots and engines leave the process as large as it was. */
class NativeMemoryTest {
  private static final TorchEngines ENGINES = TorchEngines.load();

  @ParameterizedTest
  @CsvSource({"1, 3000", "4, 1000"})
  void stepsLeaveNothing(int shards, int steps) {
    Pictures pictures = new Pictures(3, 32);
    JobSpec spec = Jobs.of("lenet", Jobs.sgd(0.001, 0.9), 4, shards);
    Batch batch = pictures.batch(1, 4, shards);
    try (Engine engine = ENGINES.create(spec, pictures.format(), "cpu")) {
      List<ByteBuffer> state = States.copy(engine);
      Runnable[] work = {
        () -> engine.trainStep(batch),
        () -> {
          engine.evalBatch(batch);
          engine.read(Sums.EVAL);
          engine.set(Sums.LOG, Totals.ZERO);
          engine.evalByClass();
        },
        () -> {
          engine.copyStateTo(state);
          engine.restoreState(state);
        },
      };
      for (int i = 0; i < 500; i++) {
        work[0].run();
        work[1 + i % 2].run();
      }
      // Not collected by the garbage collector in between, but freed at once: see what stays.
      long before = Pointer.physicalBytes();
      for (int i = 0; i < steps; i++) {
        work[0].run();
        if (i % 10 == 0) {
          work[1 + i / 10 % 2].run();
        }
      }
      long grown = Pointer.physicalBytes() - before;
      // A step makes some 300 KB of tensors: a hundredth of them kept would be 9 MB.
      assertThat(grown).as("bytes in %d steps", steps).isLessThan(8L << 20);
    }
  }
}
