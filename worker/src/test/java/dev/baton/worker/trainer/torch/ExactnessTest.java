package dev.baton.worker.trainer.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.baton.v1.JobSpec;
import dev.baton.worker.trainer.Engine;
import dev.baton.worker.trainer.Engine.Sums;
import dev.baton.worker.trainer.Engine.Totals;
import dev.baton.worker.trainer.TensorInfo;
import java.nio.ByteBuffer;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The same job gives the same bits, however often it moves. */
class ExactnessTest {
  private static final TorchEngines ENGINES = TorchEngines.load();
  private static final int BATCH = 10;

  private static Engine engine(JobSpec spec, Pictures pictures) {
    return ENGINES.create(spec, pictures.format(), "cpu");
  }

  private static JobSpec spec(String model, int shards) {
    return switch (model) {
      case "lenet" -> Jobs.of(model, Jobs.sgd(0.01, 0.9), BATCH, shards);
      case "resnet18" -> Jobs.of(model, Jobs.sgd(0.001, 0.9), BATCH, shards);
      default -> Jobs.of(model, Jobs.adam(0.002), BATCH, shards);
    };
  }

  private static void train(Engine engine, Pictures pictures, int from, int to, int shards) {
    for (int step = from; step <= to; step++) {
      // The fourth batch is short: with 4 shards one of its shards is empty.
      int samples = step % 4 == 0 ? (shards == 4 ? 3 : 7) : BATCH;
      engine.trainStep(pictures.batch(step, (step - 1) * 20L, samples, shards));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "linear, 1, 14, 1, 40",
    "linear, 1, 14, 4, 40",
    "lenet, 3, 32, 1, 40",
    "lenet, 3, 32, 4, 40",
    "mnist-cnn, 1, 28, 1, 30",
    "mnist-cnn, 1, 28, 4, 30",
    "mnist-cnn, 1, 28, 3, 30",
    "resnet18, 3, 32, 1, 6",
    "resnet18, 3, 32, 2, 6"
  })
  void restoredMidwayGivesTheSameBits(String model, int channels, int size, int shards, int steps) {
    Pictures pictures = new Pictures(channels, size);
    JobSpec spec = spec(model, shards);
    int half = steps / 2;
    String expected;
    Totals expectedEpoch;
    try (Engine whole = engine(spec, pictures)) {
      train(whole, pictures, 1, steps, shards);
      expected = States.sha256(whole);
      expectedEpoch = whole.read(Sums.EPOCH);
    }

    List<ByteBuffer> checkpoint;
    Map<Sums, Totals> sums = new EnumMap<>(Sums.class);
    try (Engine first = engine(spec, pictures)) {
      train(first, pictures, 1, half, shards);
      checkpoint = States.copy(first);
      for (Sums which : Sums.values()) {
        sums.put(which, first.read(which));
      }
      // What it does after the checkpoint is lost and must leave no trace.
      train(first, pictures, half + 1, half + 3, shards);
    }
    try (Engine second = engine(spec, pictures)) {
      second.restoreState(checkpoint);
      sums.forEach(second::set);
      train(second, pictures, half + 1, steps, shards);
      assertThat(States.sha256(second)).isEqualTo(expected);
      assertThat(second.read(Sums.EPOCH)).isEqualTo(expectedEpoch);
    }
  }

  @Test
  void shardsAddUpToTheBatch() {
    Pictures pictures = new Pictures(3, 32);
    double[] one = losses(spec("lenet", 1), pictures, 1, 20);
    double[] four = losses(spec("lenet", 4), pictures, 4, 20);
    for (int i = 0; i < one.length; i++) {
      assertThat(four[i]).isCloseTo(one[i], within(1e-4));
    }
    assertThat(one[19]).isNotEqualTo(one[0]);
  }

  private static double[] losses(JobSpec spec, Pictures pictures, int shards, int steps) {
    double[] losses = new double[steps];
    try (Engine engine = engine(spec, pictures)) {
      for (int step = 1; step <= steps; step++) {
        engine.set(Sums.LOG, Totals.ZERO);
        engine.trainStep(pictures.batch(step, BATCH, shards));
        Totals totals = engine.read(Sums.LOG);
        assertThat(totals.samples()).isEqualTo(BATCH);
        losses[step - 1] = totals.loss() / BATCH;
      }
    }
    return losses;
  }

  /** Batch norm's statistics are the sample-weighted mean of what each shard alone leaves. */
  @Test
  void buffersOfShards() {
    Pictures pictures = new Pictures(3, 32);
    int samples = 7;
    List<TensorInfo> layout;
    List<ByteBuffer> both;
    try (Engine engine = engine(spec("resnet18", 2), pictures)) {
      layout = engine.layout();
      engine.trainStep(pictures.batch(1, 0, samples, 2));
      both = States.copy(engine);
    }
    List<ByteBuffer> left;
    try (Engine engine = engine(spec("resnet18", 1), pictures)) {
      engine.trainStep(pictures.batch(1, 0, 4, 1));
      left = States.copy(engine);
    }
    List<ByteBuffer> right;
    try (Engine engine = engine(spec("resnet18", 1), pictures)) {
      engine.trainStep(pictures.batch(1, 4, 3, 1));
      right = States.copy(engine);
    }
    List<Integer> buffers =
        IntStream.range(0, layout.size())
            .filter(i -> layout.get(i).role() == TensorInfo.Role.BUFFER)
            .boxed()
            .toList();
    assertThat(buffers).hasSize(60);
    for (int i : buffers) {
      String name = layout.get(i).name();
      if (name.endsWith("num_batches_tracked")) {
        assertThat(both.get(i).getLong(0)).as(name).isEqualTo(1);
      } else {
        float expected =
            left.get(i).getFloat(0) * (float) (4.0 / 7)
                + right.get(i).getFloat(0) * (float) (3.0 / 7);
        assertThat(both.get(i).getFloat(0)).as(name).isCloseTo(expected, within(1e-6f));
      }
    }
  }

  @Test
  void evaluationChangesNoState() {
    Pictures pictures = new Pictures(1, 28);
    try (Engine engine = engine(spec("mnist-cnn", 1), pictures)) {
      train(engine, pictures, 1, 5, 1);
      String before = States.sha256(engine);
      engine.set(Sums.EVAL, Totals.ZERO);
      engine.evalBatch(pictures.batch(1, 100, 64, 1));
      Totals once = engine.read(Sums.EVAL);
      double[][] byClass = engine.evalByClass();
      assertThat(once.samples()).isEqualTo(64);
      assertThat(sum(byClass, 1)).isEqualTo(64);
      assertThat(sum(byClass, 0)).isEqualTo(once.correct());
      engine.set(Sums.EVAL, Totals.ZERO);
      engine.evalBatch(pictures.batch(1, 100, 64, 1));
      assertThat(engine.read(Sums.EVAL)).isEqualTo(once);
      assertThat(engine.evalByClass()).isDeepEqualTo(byClass);
      assertThat(States.sha256(engine)).isEqualTo(before);
    }
  }

  private static double sum(double[][] rows, int column) {
    double sum = 0;
    for (double[] row : rows) {
      sum += row[column];
    }
    return sum;
  }

  @Test
  void accuracyCountsRightAnswers() {
    Pictures pictures = new Pictures(1, 14);
    try (Engine engine = engine(spec("linear", 1), pictures)) {
      for (int step = 1; step <= 300; step++) {
        engine.trainStep(pictures.batch(step, BATCH, 1));
      }
      engine.set(Sums.EVAL, Totals.ZERO);
      engine.evalBatch(pictures.batch(1, 100_000, 500, 1));
      assertThat(engine.read(Sums.EVAL).correct()).isGreaterThan(450);
    }
  }
}
