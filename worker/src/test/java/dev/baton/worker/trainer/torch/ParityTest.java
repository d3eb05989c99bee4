package dev.baton.worker.trainer.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.baton.v1.Adam;
import dev.baton.v1.Data;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Normalize;
import dev.baton.v1.Optimizer;
import dev.baton.v1.Sgd;
import dev.baton.v1.Transform;
import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.Engine;
import dev.baton.worker.trainer.Engine.Sums;
import dev.baton.worker.trainer.Engine.Totals;
import dev.baton.worker.trainer.TensorInfo;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** libtorch from Java computes what Python's PyTorch was recorded to ({@code parity/record.py}). */
class ParityTest {
  private static final TorchEngines ENGINES = TorchEngines.load();

  private static JsonNode recorded(String part, String name) throws IOException {
    try (InputStream in = ParityTest.class.getResourceAsStream("/parity/parity.json")) {
      return new ObjectMapper().readTree(in).path(part).path(name);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "linear, 1, 14, 10",
    "lenet, 3, 32, 10",
    "mnist-cnn, 1, 28, 10",
    "resnet18-d2l, 1, 32, 10",
    "resnet18, 3, 32, 7"
  })
  void initialValues(String model, int channels, int size, int classes) throws IOException {
    JobSpec.Builder spec = Jobs.of(model, Jobs.sgd(0.1, 0), 4, 1).toBuilder();
    spec.getModelBuilder().getBuiltinBuilder().setNumClasses(classes);
    JsonNode python = recorded("initial", model);
    Pictures pictures = new Pictures(channels, size);
    var format = pictures.format();
    if (classes < 10) {
      format =
          new dev.baton.worker.data.SampleFormat(
              format.xType(), format.xShape(), format.yType(), classes, List.of());
    }
    try (Engine engine = ENGINES.createSeeded(spec.build(), format, 1, (step, shard) -> 0)) {
      List<TensorInfo> layout = engine.layout();
      assertThat(layout.stream().map(TensorInfo::name).toList())
          .containsExactlyElementsOf(python::fieldNames);
      List<ByteBuffer> state = States.copy(engine);
      for (int i = 0; i < layout.size(); i++) {
        TensorInfo info = layout.get(i);
        JsonNode tensor = python.path(info.name());
        List<Long> shape = new ArrayList<>();
        tensor.path(0).forEach(dimension -> shape.add(dimension.asLong()));
        assertThat(info.shape()).as(info.name()).isEqualTo(shape);
        double sum = 0;
        double first = 0;
        for (int e = 0; e < info.elements(); e++) {
          double value =
              info.dtype() == DType.INT64
                  ? state.get(i).getLong(8 * e)
                  : state.get(i).getFloat(4 * e);
          sum += value;
          first = e == 0 ? value : first;
        }
        assertThat(first).as(info.name()).isEqualTo(tensor.path(2).asDouble());
        assertThat(sum).as(info.name()).isCloseTo(tensor.path(1).asDouble(), within(1e-9));
      }
    }
  }

  @Test
  void lenetOver200Steps() throws IOException {
    JobSpec.Builder spec = Jobs.of("lenet", Jobs.sgd(0.01, 0.9), 4, 1).toBuilder();
    spec.setData(
        Data.newBuilder()
            .addTransforms(
                Transform.newBuilder()
                    .setNormalize(Normalize.newBuilder().addMean(0.5).addStd(0.5))));
    assertSameCurve(spec.build(), "lenet", new Pictures(3, 32), 1e-5);
  }

  @Test
  void mnistCnnOver50Steps() throws IOException {
    assertSameCurve(
        Jobs.of("mnist-cnn", Jobs.adam(0.001), 32, 1), "mnist-cnn", new Pictures(1, 28), 1e-5);
  }

  @ParameterizedTest
  @CsvSource({"resnet18-d2l, 1", "resnet18, 3"})
  void resnets(String model, int channels) throws IOException {
    JobSpec spec = Jobs.of(model, Jobs.sgd(0.001, 0), 8, 1);
    Pictures pictures = new Pictures(channels, 64);
    assertSameCurve(spec, model, pictures, 1, 1e-5);
    // Of a million ReLUs one or two have an input so close to 0 that rounding decides on which side
    // it falls; a gradient of 8 pictures then differs by up to hundredths, in PyTorch itself
    // between float32 and float64.
    assertSameCurve(spec, model, pictures, 2, 5e-3);
  }

  @Test
  void optimizers() throws IOException {
    Pictures pictures = new Pictures(1, 14);
    assertSameCurve(Jobs.of("linear", Jobs.sgd(0.02, 0), 8, 1), "sgd", pictures, 1e-6);
    Sgd nesterov =
        Sgd.newBuilder()
            .setLr(0.02)
            .setMomentum(0.9)
            .setWeightDecay(0.01)
            .setNesterov(true)
            .build();
    assertSameCurve(
        Jobs.of("linear", Optimizer.newBuilder().setSgd(nesterov).build(), 8, 1),
        "sgd-nesterov",
        pictures,
        1e-6);
    Adam adam =
        Adam.newBuilder()
            .setLr(0.002)
            .addBetas(0.8)
            .addBetas(0.99)
            .setEps(1e-7)
            .setWeightDecay(0.01)
            .build();
    assertSameCurve(
        Jobs.of("linear", Optimizer.newBuilder().setAdam(adam).build(), 8, 1),
        "adam",
        pictures,
        1e-6);
    assertSameCurve(
        Jobs.of(
            "linear",
            Optimizer.newBuilder().setAdamw(Adam.newBuilder().setLr(0.002)).build(),
            8,
            1),
        "adamw",
        pictures,
        1e-6);
  }

  private static void assertSameCurve(
      JobSpec spec, String curve, Pictures pictures, double tolerance) throws IOException {
    assertSameCurve(spec, curve, pictures, recorded("curves", curve).size(), tolerance);
  }

  private static void assertSameCurve(
      JobSpec spec, String curve, Pictures pictures, int steps, double tolerance)
      throws IOException {
    JsonNode python = recorded("curves", curve);
    assertThat(steps).isBetween(1, python.size());
    int batch = spec.getTraining().getBatchSize();
    try (Engine engine =
        ENGINES.createSeeded(spec, pictures.format(), 1, (step, shard) -> 1000 + step)) {
      for (int step = 1; step <= steps; step++) {
        engine.set(Sums.LOG, Totals.ZERO);
        engine.trainStep(pictures.batch(step, batch, 1));
        double loss = engine.read(Sums.LOG).loss() / batch;
        assertThat(loss)
            .as("%s, step %d", curve, step)
            .isCloseTo(python.path(step - 1).asDouble(), within(tolerance));
      }
    }
  }
}
