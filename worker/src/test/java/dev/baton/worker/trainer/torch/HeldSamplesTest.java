package dev.baton.worker.trainer.torch;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.dataset.Picture;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.v1.Normalize;
import dev.baton.v1.Transform;
import dev.baton.worker.data.Batch;
import dev.baton.worker.data.BatchPlan;
import dev.baton.worker.data.Batches;
import dev.baton.worker.data.EvalBatches;
import dev.baton.worker.data.Resizing;
import dev.baton.worker.data.SampleFormat;
import dev.baton.worker.data.SampleSource;
import dev.baton.worker.data.TrainBatches;
import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.DeviceBatches;
import dev.baton.worker.trainer.Engine;
import dev.baton.worker.trainer.Engine.Sums;
import dev.baton.worker.trainer.Engine.Totals;
import dev.baton.worker.trainer.Engine.Use;
import dev.baton.worker.trainer.Seeds;
import java.nio.ByteBuffer;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.DeviceType;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What the device holds and does itself gives the bits of what the host sends. */
class HeldSamplesTest {
  private static final TorchEngines ENGINES = TorchEngines.load();
  private static final long PLENTY = 1L << 40;
  private static final int SAMPLES = 50;
  private static final int STEPS = 14;

  /** A job on samples; the last batch of an epoch is smaller. */
  @SuppressWarnings("ImmutableEnumChecker") // what the fields hold is never changed
  private enum Case {
    SHUFFLED_SHARDS("lenet", picture(3, 32), Resizing.NONE, 2, true),
    GROWING("mnist-cnn", picture(1, 14), new Resizing(List.of(List.of(28, 28))), 1, true),
    IN_ORDER("linear", List.of(6), Resizing.NONE, 1, false);

    final JobSpec spec;
    final SampleFormat stored;
    final Resizing resizing;
    final boolean shuffle;

    Case(String model, List<Integer> shape, Resizing resizing, int shards, boolean shuffle) {
      boolean pictures = shape.size() == 3;
      JobSpec.Builder job = Jobs.of(model, Jobs.adam(0.002), 12, shards).toBuilder();
      if (pictures) {
        job.getDataBuilder()
            .addTransforms(
                Transform.newBuilder()
                    .setNormalize(Normalize.newBuilder().addMean(0.4).addStd(0.3)));
      } else {
        job.getTrainingBuilder().setLoss(Loss.LOSS_MSE);
      }
      this.spec = job.build();
      this.stored =
          pictures
              ? new SampleFormat(DType.UINT8, shape, DType.INT64, 10, List.of())
              : new SampleFormat(DType.FLOAT32, shape, DType.FLOAT32, 0, List.of());
      this.resizing = resizing;
      this.shuffle = shuffle;
    }

    private static List<Integer> picture(int channels, int edge) {
      return List.of(channels, edge, edge);
    }

    BatchPlan plan() {
      return new BatchPlan(SAMPLES, 12, spec.getReplicas().getShards(), false, 0, STEPS);
    }

    /** As the host sends them: resized already. */
    Noise forHost() {
      int[] shape =
          resizing.isNone()
              ? new int[0]
              : resizing.shape(stored.xShape().get(1), stored.xShape().get(2));
      return new Noise(
          resizing.isNone()
              ? stored
              : new SampleFormat(
                  DType.UINT8,
                  List.of(stored.xShape().get(0), shape[0], shape[1]),
                  DType.INT64,
                  10,
                  List.of()),
          stored,
          resizing);
    }

    /** As they are stored, the rest left to the device. */
    Noise forDevice() {
      return new Noise(
          new SampleFormat(
              stored.xType(),
              stored.xShape(),
              stored.yType(),
              stored.classes(),
              List.of(),
              resizing),
          stored,
          Resizing.NONE);
    }
  }

  /** Samples that are functions of their index. */
  private static final class Noise implements SampleSource {
    private final SampleFormat format;
    private final SampleFormat stored;
    private final Resizing resizing;
    volatile boolean complete = true;
    volatile int gathered;

    Noise(SampleFormat format, SampleFormat stored, Resizing resizing) {
      this.format = format;
      this.stored = stored;
      this.resizing = resizing;
    }

    @Override
    public SampleFormat format() {
      return format;
    }

    @Override
    public long size() {
      return SAMPLES;
    }

    @Override
    public boolean isComplete() {
      return complete;
    }

    @Override
    @SuppressWarnings("NonAtomicVolatileUpdate") // one thread at a time gathers
    public void gather(int[] indices, int from, int to, ByteBuffer x, ByteBuffer y) {
      gathered += to - from;
      for (int k = from; k < to; k++) {
        byte[] bytes = new byte[stored.xBytes() / stored.xType().bytes()];
        for (int i = 0; i < bytes.length; i++) {
          bytes[i] = (byte) Seeds.finalise(indices[k] * 100_003L + i);
        }
        if (stored.xType() == DType.FLOAT32) {
          for (byte value : bytes) {
            x.putFloat(value / 128f);
          }
          y.putFloat(indices[k]);
          continue;
        }
        List<Integer> shape = stored.xShape();
        x.put(
            resizing.apply(new Picture(shape.get(0), shape.get(1), shape.get(2), bytes)).pixels());
        y.putLong(indices[k] % 10);
      }
    }

    @Override
    public void close() {}
  }

  private static String train(Engine engine, Batches batches, Runnable eachStep) throws Exception {
    try (batches) {
      for (Batch batch = batches.next(); batch != null; batch = batches.next()) {
        engine.trainStep(batch);
        batch.release();
        eachStep.run();
      }
    }
    return States.sha256(engine) + engine.read(Sums.EPOCH);
  }

  private static Totals evaluate(Engine engine, Batches batches) throws Exception {
    engine.set(Sums.EVAL, Totals.ZERO);
    try (batches) {
      for (Batch batch = batches.next(); batch != null; batch = batches.next()) {
        engine.evalBatch(batch);
        batch.release();
      }
    }
    return engine.read(Sums.EVAL);
  }

  @ParameterizedTest
  @EnumSource
  void theBitsAreThoseOfTheHostsBatches(Case job) throws Exception {
    String expected;
    Totals expectedEval;
    Noise host = job.forHost();
    try (Engine engine = ENGINES.create(job.spec, host.format(), "cpu")) {
      assertThat(engine.hold(Use.TRAIN, host)).isFalse();
      expected = train(engine, new TrainBatches(host, job.plan(), 7, job.shuffle, 1), () -> {});
      expectedEval = evaluate(engine, new EvalBatches(host, 16, 1));
    }
    for (int completeAfter : new int[] {0, 5, STEPS + 1}) {
      Noise device = job.forDevice();
      device.complete = completeAfter == 0;
      int[] steps = {0};
      try (Engine engine = ENGINES.createHolding(job.spec, device.format(), PLENTY)) {
        DeviceBatches.Opener opener =
            (source, first) -> new TrainBatches(source, job.plan(), 7, job.shuffle, first);
        String state =
            train(
                engine,
                new DeviceBatches(engine, Use.TRAIN, device, 1, opener),
                () -> device.complete = ++steps[0] >= completeAfter);
        assertThat(state).isEqualTo(expected);
        Totals eval =
            evaluate(
                engine,
                new DeviceBatches(
                    engine,
                    Use.EVAL,
                    device,
                    1,
                    (source, first) -> new EvalBatches(source, 16, 1, first)));
        assertThat(eval).isEqualTo(expectedEval);
        if (completeAfter == 0) {
          // Once for training and once for evaluating, and never again.
          assertThat(device.gathered).isEqualTo(2 * SAMPLES);
        }
      }
    }
  }

  @Test
  void whatHasNoRoomOrAWrongLabelIsNotTaken() {
    Noise source = Case.SHUFFLED_SHARDS.forDevice();
    long bytes = SAMPLES * (3 * 32 * 32 + 8L);
    try (Engine engine =
        ENGINES.createHolding(Case.SHUFFLED_SHARDS.spec, source.format(), 10 * bytes - 1)) {
      assertThat(engine.hold(Use.TRAIN, source)).isFalse();
    }
    try (Engine engine =
        ENGINES.createHolding(Case.SHUFFLED_SHARDS.spec, source.format(), 10 * bytes)) {
      assertThat(engine.hold(Use.TRAIN, source)).isTrue();
      assertThat(engine.hold(Use.TRAIN, source)).isTrue();
      assertThat(engine.hold(Use.TRAIN, Case.SHUFFLED_SHARDS.forDevice())).isFalse();
    }
    JobSpec.Builder nine = Case.SHUFFLED_SHARDS.spec.toBuilder();
    nine.getModelBuilder().getBuiltinBuilder().setNumClasses(9);
    SampleFormat unknown =
        new SampleFormat(DType.UINT8, List.of(3, 32, 32), DType.INT64, 0, List.of());
    Noise labelled9 = new Noise(unknown, unknown, Resizing.NONE);
    try (Engine engine = ENGINES.createHolding(nine.build(), unknown, PLENTY)) {
      assertThat(engine.hold(Use.TRAIN, labelled9)).isFalse();
    }
  }

  @Test
  void resizesAreBilinearResizesToTheBit() {
    List<Resizing> resizings =
        List.of(
            new Resizing(List.of(List.of(96, 96))),
            new Resizing(List.of(List.of(40))),
            new Resizing(List.of(List.of(5, 60))),
            new Resizing(List.of(List.of(28, 17))),
            new Resizing(List.of(List.of(50), List.of(7, 9), List.of(32, 32))));
    byte[] bytes = new byte[2 * 3 * 28 * 21];
    for (int i = 0; i < bytes.length; i++) {
      // Runs of black and white, where rounding clips, among noise.
      bytes[i] = (byte) (i % 700 < 200 ? (i / 7 % 2) * 255L : Seeds.finalise(i));
    }
    for (Resizing resizing : resizings) {
      SampleFormat format =
          new SampleFormat(DType.UINT8, List.of(3, 28, 21), DType.INT64, 10, List.of(), resizing);
      List<Integer> shape = format.inputShape();
      byte[] expected = new byte[2 * 3 * shape.get(1) * shape.get(2)];
      for (int n = 0; n < 2; n++) {
        byte[] one = java.util.Arrays.copyOfRange(bytes, n * 3 * 28 * 21, (n + 1) * 3 * 28 * 21);
        byte[] resized = resizing.apply(new Picture(3, 28, 21, one)).pixels();
        System.arraycopy(resized, 0, expected, n * resized.length, resized.length);
      }
      ByteBuffer direct = HostBatch.direct(bytes.length).put(bytes).flip();
      try (PointerScope scope = new PointerScope();
          DeviceResize resize = new DeviceResize(format, new Device(DeviceType.CPU))) {
        Tensor out =
            resize
                .apply(Inputs.blob(direct, new long[] {2, 3, 28, 21}, Inputs.options(DType.UINT8)))
                .to(ScalarType.Byte)
                .contiguous();
        byte[] actual = new byte[expected.length];
        new BytePointer(out.data_ptr()).get(actual);
        assertThat(out.shape()).containsExactly(2, 3, shape.get(1), shape.get(2));
        assertThat(actual).as(resizing.toString()).isEqualTo(expected);
      }
    }
  }
}
