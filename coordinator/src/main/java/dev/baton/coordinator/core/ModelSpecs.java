package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.invalid;
import static dev.baton.coordinator.core.CoordinatorException.precondition;
import static dev.baton.coordinator.core.SpecChecks.check;
import static dev.baton.coordinator.core.SpecChecks.quoted;

import dev.baton.v1.BuiltinModel;
import dev.baton.v1.Loss;
import dev.baton.v1.Model;
import dev.baton.v1.Replicas;
import dev.baton.v1.Source;
import dev.baton.v1.Training;
import java.util.List;

/** A spec's model, held against its data. */
final class ModelSpecs {
  private static final List<String> MODELS =
      List.of("linear", "lenet", "mnist-cnn", "resnet18-d2l", "resnet18");
  private static final int MAX_CLASSES = 1_000_000;

  private ModelSpecs() {}

  static Model complete(Model model, Training training, SampleShape data) {
    if (!model.hasBuiltin()) {
      throw invalid("model: it is missing; use {builtin: {name: mnist-cnn}}");
    }
    BuiltinModel builtin = model.getBuiltin();
    String path = "model.builtin";
    if (!MODELS.contains(builtin.getName())) {
      throw invalid(
          path
              + ".name: there is no model "
              + quoted(builtin.getName())
              + "; there are "
              + String.join(", ", MODELS));
    }
    boolean linear = builtin.getName().equals("linear");
    boolean anyChannels = builtin.getName().startsWith("resnet18");
    only(linear, builtin.hasInFeatures(), path + ".in_features", "linear");
    only(linear, builtin.hasOutFeatures(), path + ".out_features", "linear");
    only(anyChannels, builtin.hasInChannels(), path + ".in_channels", "resnet18 and resnet18-d2l");
    BuiltinModel.Builder complete = builtin.toBuilder();
    if (!builtin.hasNumClasses()) {
      complete.setNumClasses(data.classes() > 0 ? data.classes() : 10);
    }
    check(
        complete.getNumClasses() >= 1 && complete.getNumClasses() <= MAX_CLASSES,
        path + ".num_classes",
        complete.getNumClasses(),
        "1 to " + MAX_CLASSES);
    if (anyChannels && !builtin.hasInChannels()) {
      complete.setInChannels(data.channels());
    }
    if (linear) {
      if (!builtin.hasInFeatures()) {
        complete.setInFeatures(data.features());
      }
      if (!builtin.hasOutFeatures()) {
        complete.setOutFeatures(training.getLoss() == Loss.LOSS_MSE ? 1 : complete.getNumClasses());
      }
      check(
          complete.getOutFeatures() >= 1 && complete.getOutFeatures() <= MAX_CLASSES,
          path + ".out_features",
          complete.getOutFeatures(),
          "1 to " + MAX_CLASSES);
    }
    return Model.newBuilder().setBuiltin(complete).build();
  }

  private static void only(boolean allowed, boolean set, String path, String models) {
    if (set && !allowed) {
      throw invalid(path + ": it is for " + models + " alone; leave it out");
    }
  }

  /** The model against the data: shapes, classes, loss. */
  static void fits(BuiltinModel model, Loss loss, SampleShape data) {
    String path = "model.builtin";
    if (model.getName().equals("linear")) {
      if (model.getInFeatures() != data.features()) {
        throw precondition(
            path
                + ".in_features: it is "
                + model.getInFeatures()
                + ", but "
                + data.path()
                + " has "
                + data.describe()
                + ": use "
                + data.features()
                + ", or leave it out");
      }
    } else if (!data.pictures()) {
      throw precondition(
          path
              + ".name: "
              + model.getName()
              + " takes pictures, but "
              + data.path()
              + " has "
              + data.describe()
              + "; use linear");
    }
    switch (model.getName()) {
      case "lenet" -> {
        if (data.channels() != 3 || data.height() != 32 || data.width() != 32) {
          throw precondition(
              path
                  + ".name: lenet takes pictures of 3x32x32, but "
                  + data.path()
                  + " has "
                  + data.describe()
                  + (data.channels() == 3
                      ? "; add {resize: {size: [32, 32]}} to data.transforms"
                      : "; use resnet18, or linear"));
        }
      }
      case "mnist-cnn" -> {
        // Two convolutions (3, 5), each halved by pooling: an edge of 14 leaves one value.
        if (data.channels() != 1 || data.height() < 14 || data.width() < 14) {
          throw precondition(
              path
                  + ".name: mnist-cnn takes pictures of one channel and at least 14x14, but "
                  + data.path()
                  + " has "
                  + data.describe()
                  + (data.channels() == 1
                      ? "; add {resize: {size: [28, 28]}} to data.transforms"
                      : "; use resnet18, or linear"));
        }
      }
      case "resnet18", "resnet18-d2l" -> {
        if (model.getInChannels() != data.channels()) {
          throw precondition(
              path
                  + ".in_channels: it is "
                  + model.getInChannels()
                  + ", but "
                  + data.path()
                  + " has "
                  + data.describe()
                  + ": use "
                  + data.channels()
                  + ", or leave it out");
        }
      }
      default -> {}
    }
    if (loss == Loss.LOSS_CROSS_ENTROPY) {
      if (data.classes() == 0) {
        throw precondition(
            "training.loss: it is cross_entropy, but "
                + data.path()
                + " has no classes (a regression); use mse");
      }
      String outputsPath =
          path + (model.getName().equals("linear") ? ".out_features" : ".num_classes");
      int outputs =
          model.getName().equals("linear") ? model.getOutFeatures() : model.getNumClasses();
      if (data.classes() > outputs) {
        throw precondition(
            outputsPath
                + ": it is "
                + outputs
                + ", but "
                + data.path()
                + " has labels up to "
                + (data.classes() - 1)
                + ": use "
                + data.classes()
                + ", or leave it out");
      }
    } else {
      if (data.classes() > 0) {
        throw precondition(
            "training.loss: it is mse, but " + data.path() + " has classes; use cross_entropy");
      }
      if (model.getOutFeatures() != 1) {
        throw precondition(
            path
                + ".out_features: it is "
                + model.getOutFeatures()
                + ", but the regression has one target; use 1, or leave it out");
      }
    }
  }

  /** Steps in an epoch; refuses batch norm on one sample. */
  static long batches(
      BuiltinModel model, Training training, Replicas replicas, Source train, SampleShape data) {
    int batch = training.getBatchSize();
    long full = data.samples() / batch;
    long last = train.getDropLast() ? 0 : data.samples() % batch;
    if (data.samples() < 1) {
      throw precondition("data.train: split " + train.getSplit() + " has no samples");
    }
    if (model.getName().startsWith("resnet18")) {
      int shards = replicas.getShards();
      if (full > 0 && batch < 2 * shards) {
        throw invalid(
            "training.batch_size: it is "
                + batch
                + " in "
                + shards
                + " shards, so that a shard"
                + " has one sample, and batch norm needs two; use at least "
                + 2 * shards);
      }
      if (last > 0 && last < 2L * shards) {
        throw invalid(
            "training.batch_size: it is "
                + batch
                + ", so that the last batch of "
                + data.samples()
                + " samples has "
                + last
                + (shards == 1 ? "" : " in " + shards + " shards")
                + ", and batch norm needs two in a shard; use another batch size, or"
                + " data.train.drop_last: true");
      }
    }
    return full + (last > 0 ? 1 : 0);
  }
}
