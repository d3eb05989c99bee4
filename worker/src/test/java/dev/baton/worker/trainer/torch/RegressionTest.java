package dev.baton.worker.trainer.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.worker.data.SampleFormat;
import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.Engine;
import dev.baton.worker.trainer.Engine.Sums;
import dev.baton.worker.trainer.Engine.Totals;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RegressionTest {
  private static final int SAMPLES = 5000;

  @ParameterizedTest
  @ValueSource(ints = {1, 3})
  void recoversTheLine(int shards) {
    Random random = new Random(3);
    ByteBuffer x = HostBatch.direct(SAMPLES * 8);
    ByteBuffer y = HostBatch.direct(SAMPLES * 4);
    double noise = 0;
    for (int i = 0; i < SAMPLES; i++) {
      float x1 = 10 * random.nextFloat() - 5;
      float x2 = 10 * random.nextFloat() - 5;
      double deviation = 2 * random.nextGaussian();
      noise += deviation * deviation;
      x.putFloat(x1).putFloat(x2);
      y.putFloat((float) (2 * x1 - 3 * x2 + 10 + deviation));
    }
    HostBatch batch = new HostBatch(1, SAMPLES, shards, x.flip(), y.flip());
    JobSpec.Builder spec = Jobs.of("linear", Jobs.adam(0.1), SAMPLES, shards).toBuilder();
    spec.getTrainingBuilder().setLoss(Loss.LOSS_MSE);
    SampleFormat format = new SampleFormat(DType.FLOAT32, List.of(2), DType.FLOAT32, 0, List.of());
    try (Engine engine = TorchEngines.load().create(spec.build(), format, "cpu")) {
      for (int step = 0; step < 400; step++) {
        engine.trainStep(batch);
      }
      List<ByteBuffer> state = States.copy(engine);
      assertThat(state.get(0).getFloat(0)).isCloseTo(2, within(0.1f));
      assertThat(state.get(0).getFloat(4)).isCloseTo(-3, within(0.1f));
      assertThat(state.get(1).getFloat(0)).isCloseTo(10, within(0.1f));
      engine.set(Sums.EVAL, Totals.ZERO);
      engine.evalBatch(batch);
      Totals totals = engine.read(Sums.EVAL);
      assertThat(totals.loss() / noise).isCloseTo(1, within(0.01));
      assertThat(totals.correct()).isZero();
      assertThat(engine.evalByClass()).isEmpty();
    }
  }
}
