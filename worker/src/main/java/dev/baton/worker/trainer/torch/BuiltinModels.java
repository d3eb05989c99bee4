package dev.baton.worker.trainer.torch;

import dev.baton.v1.BuiltinModel;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.worker.data.SampleFormat;
import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.TrainingException;
import java.util.List;
import org.bytedeco.pytorch.Device;

/** The models that a job names. What data and model must agree on is checked here, once. */
final class BuiltinModels {
  private static final List<String> NAMES =
      List.of("linear", "lenet", "mnist-cnn", "resnet18-d2l", "resnet18");

  private BuiltinModels() {}

  /**
   * The model, initialised with the CPU generator's next random numbers.
   *
   * @throws TrainingException where it cannot take the data's samples
   */
  static Model create(JobSpec job, SampleFormat format, Device device) {
    BuiltinModel spec = job.getModel().getBuiltin();
    Loss loss = job.getTraining().getLoss();
    String name = spec.getName();
    List<Integer> shape = format.inputShape();
    int classes = classes(job, format);
    return switch (name) {
      case "linear" -> {
        int features = shape.stream().mapToInt(Integer::intValue).reduce(1, Math::multiplyExact);
        if (spec.hasInFeatures() && spec.getInFeatures() != features) {
          throw TrainingException.userError(
              "model.builtin.in_features is "
                  + spec.getInFeatures()
                  + ", but the data's samples of shape "
                  + shape
                  + " have "
                  + features
                  + " features");
        }
        int outputs = loss == Loss.LOSS_MSE ? 1 : classes;
        if (spec.hasOutFeatures() && spec.getOutFeatures() != outputs) {
          throw TrainingException.userError(
              "model.builtin.out_features is "
                  + spec.getOutFeatures()
                  + ", but "
                  + (loss == Loss.LOSS_MSE
                      ? "the data has 1 target for each sample"
                      : "the data has " + classes + " classes")
                  + ": out_features must be "
                  + outputs);
        }
        yield new LinearModel(features, outputs, device);
      }
      case "lenet" -> {
        if (!shape.equals(List.of(3, 32, 32))) {
          throw unfit(name, "pictures of shape [3, 32, 32]", shape);
        }
        yield new LeNet(classes, shardSize(job), device);
      }
      case "mnist-cnn" -> {
        if (shape.size() != 3
            || shape.get(0) != 1
            || shape.get(1) < MnistCnn.SMALLEST
            || shape.get(2) < MnistCnn.SMALLEST) {
          throw unfit(name, "pictures of shape [1, 14 or more, 14 or more]", shape);
        }
        yield new MnistCnn(classes, device);
      }
      case "resnet18-d2l" -> new ResNet18D2l(channels(spec, shape), classes, device);
      case "resnet18" -> new ResNet18(channels(spec, shape), classes, device);
      default ->
          throw TrainingException.userError(
              "model.builtin.name is \"" + name + "\"; it must be one of " + NAMES);
    };
  }

  /** Samples that go through the model at a time, in a full batch. */
  private static int shardSize(JobSpec job) {
    int shards = Math.max(1, job.getReplicas().getShards());
    return (job.getTraining().getBatchSize() + shards - 1) / shards;
  }

  /** How many classes the job's model tells apart. */
  static int classes(JobSpec job, SampleFormat format) {
    BuiltinModel spec = job.getModel().getBuiltin();
    if (!spec.hasNumClasses()) {
      return format.classes() > 0 ? format.classes() : 10;
    }
    if (spec.getNumClasses() < format.classes()) {
      throw TrainingException.userError(
          "model.builtin.num_classes is "
              + spec.getNumClasses()
              + ", but the data set has labels up to "
              + (format.classes() - 1)
              + ": num_classes must be "
              + format.classes()
              + " or more");
    }
    return spec.getNumClasses();
  }

  private static int channels(BuiltinModel spec, List<Integer> shape) {
    if (shape.size() != 3) {
      throw unfit(spec.getName(), "pictures of shape [channels, height, width]", shape);
    }
    if (spec.hasInChannels() && spec.getInChannels() != shape.get(0)) {
      throw TrainingException.userError(
          "model.builtin.in_channels is "
              + spec.getInChannels()
              + ", but the data's samples of shape "
              + shape
              + " have "
              + shape.get(0));
    }
    return shape.get(0);
  }

  private static TrainingException unfit(String name, String wanted, List<Integer> shape) {
    return TrainingException.userError(
        "model " + name + " takes " + wanted + "; the data's samples have shape " + shape);
  }

  /** What a loss expects as target. */
  static void checkTarget(Loss loss, SampleFormat format) {
    boolean classIndices = format.yType() == DType.INT64;
    if (loss == Loss.LOSS_MSE && classIndices) {
      throw TrainingException.userError(
          "training.loss is mse, but the data has class labels: cross_entropy would be right");
    }
    if (loss == Loss.LOSS_CROSS_ENTROPY && !classIndices) {
      throw TrainingException.userError(
          "training.loss is cross_entropy, but the data has numbers as targets: mse would be right");
    }
  }
}
