package dev.baton.worker.trainer.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.worker.data.SampleFormat;
import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.Engine;
import dev.baton.worker.trainer.Engine.Sums;
import dev.baton.worker.trainer.TrainingException;
import java.nio.ByteBuffer;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What the user got wrong ends in one line that names it. */
class BadInputTest {
  private static final TorchEngines ENGINES = TorchEngines.load();
  private static final Pictures DIGITS = new Pictures(1, 28);

  private static TrainingException refused(JobSpec spec, SampleFormat format) {
    return catchThrowableOfType(
        TrainingException.class, () -> ENGINES.create(spec, format, "cpu").close());
  }

  @Test
  void shapesThatDoNotFit() {
    TrainingException e = refused(Jobs.of("lenet", Jobs.sgd(0.1, 0), 4, 1), DIGITS.format());
    assertThat(e.outcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_USER_ERROR);
    assertThat(e)
        .hasMessage(
            "model lenet takes pictures of shape [3, 32, 32]; the data's samples have shape"
                + " [1, 28, 28]");
    assertThat(refused(Jobs.of("mnist-cnn", Jobs.sgd(0.1, 0), 4, 1), new Pictures(1, 13).format()))
        .hasMessageContaining("[1, 14 or more, 14 or more]")
        .hasMessageContaining("[1, 13, 13]");
    JobSpec.Builder features = Jobs.of("linear", Jobs.sgd(0.1, 0), 4, 1).toBuilder();
    features.getModelBuilder().getBuiltinBuilder().setInFeatures(3);
    assertThat(refused(features.build(), DIGITS.format()))
        .hasMessageContaining("in_features is 3")
        .hasMessageContaining("784");
    JobSpec.Builder channels = Jobs.of("resnet18", Jobs.sgd(0.1, 0), 4, 1).toBuilder();
    channels.getModelBuilder().getBuiltinBuilder().setInChannels(3);
    assertThat(refused(channels.build(), DIGITS.format())).hasMessageContaining("in_channels is 3");
  }

  @Test
  void unknownModelAndWrongLoss() {
    assertThat(refused(Jobs.of("resnet", Jobs.sgd(0.1, 0), 4, 1), DIGITS.format()))
        .hasMessageContaining("\"resnet\"")
        .hasMessageContaining("resnet18-d2l");
    JobSpec.Builder mse = Jobs.of("linear", Jobs.sgd(0.1, 0), 4, 1).toBuilder();
    mse.getTrainingBuilder().setLoss(Loss.LOSS_MSE);
    assertThat(refused(mse.build(), DIGITS.format())).hasMessageContaining("cross_entropy");
  }

  @Test
  void fewerClassesThanLabels() {
    JobSpec.Builder spec = Jobs.of("mnist-cnn", Jobs.sgd(0.1, 0), 4, 1).toBuilder();
    spec.getModelBuilder().getBuiltinBuilder().setNumClasses(5);
    assertThat(refused(spec.build(), DIGITS.format()))
        .hasMessageContaining("num_classes is 5")
        .hasMessageContaining("up to 9");
  }

  @Test
  void labelBeyondTheClasses() {
    SampleFormat silent =
        new SampleFormat(DType.UINT8, List.of(1, 28, 28), DType.INT64, 0, List.of());
    try (Engine engine =
        ENGINES.create(Jobs.of("mnist-cnn", Jobs.sgd(0.1, 0), 4, 1), silent, "cpu")) {
      ByteBuffer y = HostBatch.direct(2 * Long.BYTES).putLong(3).putLong(11).flip();
      HostBatch batch = new HostBatch(1, 2, 1, HostBatch.direct(2 * 784), y);
      TrainingException e =
          catchThrowableOfType(TrainingException.class, () -> engine.trainStep(batch));
      assertThat(e.outcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_USER_ERROR);
      assertThat(e).hasMessageContaining("label 11").hasMessageContaining("10 classes");
    }
  }

  @Test
  void batchNormOnOneSample() {
    Pictures pictures = new Pictures(1, 32);
    try (Engine engine =
        ENGINES.create(Jobs.of("resnet18-d2l", Jobs.sgd(0.1, 0), 4, 1), pictures.format(), "cpu")) {
      TrainingException e =
          catchThrowableOfType(
              TrainingException.class, () -> engine.trainStep(pictures.batch(3, 1, 1)));
      assertThat(e).hasMessageContaining("step 3").hasMessageContaining("one sample");
    }
  }

  @Test
  void lossThatIsNotFiniteShowsInTheSums() {
    SampleFormat features =
        new SampleFormat(DType.FLOAT32, List.of(2), DType.FLOAT32, 0, List.of());
    JobSpec.Builder spec = Jobs.of("linear", Jobs.sgd(0.1, 0), 2, 1).toBuilder();
    spec.getTrainingBuilder().setLoss(Loss.LOSS_MSE);
    try (Engine engine = ENGINES.create(spec.build(), features, "cpu")) {
      ByteBuffer x =
          HostBatch.direct(16).putFloat(1).putFloat(Float.NaN).putFloat(1).putFloat(1).flip();
      engine.trainStep(new HostBatch(1, 2, 1, x, HostBatch.direct(8)));
      assertThat(engine.read(Sums.LOG).loss()).isNaN();
      assertThat(engine.read(Sums.EPOCH).loss()).isNaN();
    }
  }

  @Test
  void memoryThatRunsOutIsToldApart() {
    TrainingException cpu =
        TorchErrors.classify(
            "step 1",
            "4 samples",
            new RuntimeException(
                "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate"
                    + " memory: you tried to allocate 400 bytes.\nframe #0"));
    assertThat(cpu.outcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_OUT_OF_MEMORY);
    TrainingException gpu =
        TorchErrors.classify(
            "step 1",
            "4 samples",
            new RuntimeException("CUDA out of memory. Tried to allocate 20.00 GiB.\nException"));
    assertThat(gpu.outcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_OUT_OF_MEMORY);
    assertThat(gpu.getMessage()).doesNotContain("Exception");
    for (String message :
        new String[] {
          "CUDA error: out of memory",
          "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
          "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
          "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
        }) {
      assertThat(TorchErrors.classify("step 1", "4 samples", new RuntimeException(message)))
          .extracting(TrainingException::outcome)
          .isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_OUT_OF_MEMORY);
    }
    assertThat(
            TorchErrors.classify(
                    "step 1",
                    "4 samples",
                    new RuntimeException("CUDA error: an illegal memory access was encountered"))
                .outcome())
        .isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_CRASHED);
  }
}
