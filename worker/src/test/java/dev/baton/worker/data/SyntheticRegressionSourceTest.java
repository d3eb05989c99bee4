package dev.baton.worker.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.baton.v1.Source;
import dev.baton.v1.Synthetic;
import dev.baton.v1.SyntheticRegression;
import dev.baton.worker.trainer.TrainingException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;

class SyntheticRegressionSourceTest {
  private static SampleSource open(SyntheticRegression.Builder regression, long seed) {
    return SampleSources.open(
        Source.newBuilder().setSynthetic(Synthetic.newBuilder().setRegression(regression)).build(),
        List.of(),
        List.of(),
        Path.of("unused"),
        seed);
  }

  @Test
  void hasTheLineAndTheNoiseThatItSays() {
    int n = 200_000;
    SampleSource source = open(SyntheticRegression.newBuilder().setSamples(n), 1);
    SampleSource.Slice all = Objects.requireNonNull(source.view(0, n));
    double sum = 0;
    double squares = 0;
    double x1Sum = 0;
    double product = 0;
    for (int i = 0; i < n; i++) {
      float x1 = all.x().getFloat(8 * i);
      float x2 = all.x().getFloat(8 * i + 4);
      assertThat(x1).isBetween(-5f, Math.nextDown(5f));
      assertThat(x2).isBetween(-5f, Math.nextDown(5f));
      double noise = all.y().getFloat(4 * i) - (2 * x1 - 3 * x2 + 10);
      sum += noise;
      squares += noise * noise;
      x1Sum += x1;
      product += noise * x1;
    }
    assertThat(sum / n).isCloseTo(0, within(0.02));
    assertThat(Math.sqrt(squares / n)).isCloseTo(2, within(0.02));
    assertThat(x1Sum / n).isCloseTo(0, within(0.03));
    assertThat(product / n).isCloseTo(0, within(0.05));
  }

  @Test
  void aSampleDependsOnSeedAndIndexAlone() {
    ByteBuffer x = ByteBuffer.allocateDirect(16).order(ByteOrder.nativeOrder());
    ByteBuffer y = ByteBuffer.allocateDirect(8).order(ByteOrder.nativeOrder());
    // Too many to store: computed when gathered.
    open(SyntheticRegression.newBuilder().setSamples(1L << 24), 5)
        .gather(new int[] {7, 3}, 0, 2, x, y);
    assertThat(x.position()).isEqualTo(16);
    assertThat(y.position()).isEqualTo(8);
    SampleSource small = open(SyntheticRegression.newBuilder().setSamples(8).setSeed(5), 99);
    SampleSource.Slice stored = Objects.requireNonNull(small.view(7, 8));
    assertThat(stored.x().getLong(0)).isEqualTo(x.getLong(0));
    assertThat(stored.y().getInt(0)).isEqualTo(y.getInt(0));
    ByteBuffer x2 = ByteBuffer.allocateDirect(8).order(ByteOrder.nativeOrder());
    ByteBuffer y2 = ByteBuffer.allocateDirect(4).order(ByteOrder.nativeOrder());
    small.gather(new int[] {3}, 0, 1, x2, y2);
    assertThat(x2.getLong(0)).isEqualTo(x.getLong(8));
    assertThat(y2.getInt(0)).isEqualTo(y.getInt(4));
    // Part of every result; computed by a second implementation, in Python.
    assertThat(x.getFloat(0)).isEqualTo(1.674431f);
    assertThat(x.getFloat(4)).isEqualTo(-4.0123215f);
    assertThat(y.getFloat(0)).isEqualTo(25.147062f);
  }

  @Test
  void refusesASizeThatCannotBe() {
    assertThatThrownBy(() -> open(SyntheticRegression.newBuilder().setSamples(0), 1))
        .isInstanceOf(TrainingException.class)
        .hasMessageContaining("synthetic.regression.samples is 0");
  }
}
