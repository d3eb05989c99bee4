package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.protobuf.Duration;
import dev.baton.v1.Adam;
import dev.baton.v1.BuiltinModel;
import dev.baton.v1.Data;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetSplit;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.v1.Model;
import dev.baton.v1.Normalize;
import dev.baton.v1.Optimizer;
import dev.baton.v1.Replicas;
import dev.baton.v1.Resize;
import dev.baton.v1.Sgd;
import dev.baton.v1.Source;
import dev.baton.v1.Synthetic;
import dev.baton.v1.SyntheticRegression;
import dev.baton.v1.Training;
import dev.baton.v1.Transform;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

final class JobSpecsTest {
  private static final Map<String, Dataset> DATASETS =
      Map.of(
          "mnist", dataset("mnist", 60_000, 10_000, 10, 1, 28, 28),
          "cifar10", dataset("cifar10", 50_001, 10_000, 10, 3, 32, 32),
          "photos", dataset("photos", 100, 10, 5, 3, 0, 0),
          "wide", dataset("wide", 100, 10, 5, 3, 100, 300),
          "absurd", dataset("absurd", 100, 10, 5, 3, 1 << 30, 1 << 30),
          "flowers", dataset("flowers", 3_000, 300, 102, 3, 32, 32));

  private final JobSpecs specs = new JobSpecs(name -> Optional.ofNullable(DATASETS.get(name)));

  private static Dataset dataset(
      String name, long train, long test, int classes, int channels, int height, int width) {
    return Dataset.newBuilder()
        .setName(name)
        .setDigest("digest-of-" + name)
        .addSplits(split("train", train, classes, channels, height, width))
        .addSplits(split("test", test, classes, channels, height, width))
        .build();
  }

  private static DatasetSplit split(
      String name, long samples, int classes, int channels, int height, int width) {
    return DatasetSplit.newBuilder()
        .setName(name)
        .setSamples(samples)
        .setClasses(classes)
        .addShape(channels)
        .addShape(height)
        .addShape(width)
        .build();
  }

  private static JobSpec.Builder mnist() {
    return JobSpec.newBuilder()
        .setName("mnist")
        .setModel(model("mnist-cnn"))
        .setData(
            Data.newBuilder()
                .setTrain(Source.newBuilder().setDataset("mnist"))
                .setEval(Source.newBuilder().setDataset("mnist")))
        .setTraining(
            Training.newBuilder()
                .setEpochs(1)
                .setBatchSize(128)
                .setLoss(Loss.LOSS_CROSS_ENTROPY)
                .setOptimizer(Optimizer.newBuilder().setAdam(Adam.getDefaultInstance())));
  }

  private static Model.Builder model(String name) {
    return Model.newBuilder().setBuiltin(BuiltinModel.newBuilder().setName(name));
  }

  private static Source.Builder regression(long samples) {
    return Source.newBuilder()
        .setSynthetic(
            Synthetic.newBuilder()
                .setRegression(SyntheticRegression.newBuilder().setSamples(samples)));
  }

  private static JobSpec.Builder linear() {
    return mnist()
        .setModel(model("linear"))
        .setData(Data.newBuilder().setTrain(regression(1000)))
        .setTraining(
            Training.newBuilder()
                .setMaxSteps(10)
                .setBatchSize(10)
                .setLoss(Loss.LOSS_MSE)
                .setOptimizer(Optimizer.newBuilder().setSgd(Sgd.newBuilder().setLr(0.1))));
  }

  private void refused(JobSpec.Builder spec, Consumer<JobSpec.Builder> change, String message) {
    JobSpec.Builder changed = spec.clone();
    change.accept(changed);
    assertThatThrownBy(() -> specs.complete(changed.build()))
        .isInstanceOf(CoordinatorException.class)
        .hasMessage(message);
  }

  @Test
  void everyDefaultIsFilledIn() {
    JobSpec spec = specs.complete(mnist().build());
    assertThat(spec.getModel().getBuiltin().getNumClasses()).isEqualTo(10);
    Source train = spec.getData().getTrain();
    assertThat(train.getDataset()).isEqualTo("mnist@digest-of-mnist");
    assertThat(train.getSplit()).isEqualTo("train");
    assertThat(train.getShuffle()).isTrue();
    assertThat(train.hasDropLast()).isTrue();
    assertThat(train.getDropLast()).isFalse();
    Source eval = spec.getData().getEval();
    assertThat(eval.getSplit()).isEqualTo("test");
    assertThat(eval.getShuffle()).isFalse();
    assertThat(eval.getBatchSize()).isEqualTo(256);
    Adam adam = spec.getTraining().getOptimizer().getAdam();
    assertThat(adam.getLr()).isEqualTo(0.001);
    assertThat(adam.getBetasList()).containsExactly(0.9, 0.999);
    assertThat(adam.getEps()).isEqualTo(1e-8);
    assertThat(adam.getWeightDecay()).isZero();
    assertThat(spec.getTraining().getExact()).isTrue();
    assertThat(spec.getTraining().getLogEvery()).isEqualTo(50);
    assertThat(spec.getReplicas().getMin()).isEqualTo(1);
    assertThat(spec.getReplicas().getMax()).isEqualTo(1);
    assertThat(spec.getReplicas().getShards()).isEqualTo(1);
    assertThat(spec.getResources().getCpus()).isEqualTo(1);
    assertThat(spec.getResources().getMemory()).isEqualTo(2L << 30);
    assertThat(spec.getResources().hasGpus()).isFalse();
    assertThat(spec.getCheckpoint().getInterval().getSeconds()).isEqualTo(30);
    assertThat(spec.getCheckpoint().getKeep()).isEqualTo(3);
    assertThat(spec.getRetries().getMax()).isEqualTo(3);
    assertThat(spec.getRetries().getBackoff().getSeconds()).isEqualTo(10);
  }

  @Test
  void aCompleteSpecIsCompleteAlready() {
    for (JobSpec.Builder spec : new JobSpec.Builder[] {mnist(), linear()}) {
      JobSpec complete = specs.complete(spec.build());
      assertThat(specs.complete(complete)).isEqualTo(complete);
      assertThat(JobSpecs.digest(complete)).hasSize(64).isEqualTo(JobSpecs.digest(complete));
    }
    assertThat(JobSpecs.digest(mnist().build()))
        .isNotEqualTo(JobSpecs.digest(mnist().setName("other").build()));
  }

  @Test
  void adamwDecaysByDefault() {
    JobSpec.Builder spec = mnist();
    spec.getTrainingBuilder().getOptimizerBuilder().setAdamw(Adam.getDefaultInstance());
    assertThat(
            specs.complete(spec.build()).getTraining().getOptimizer().getAdamw().getWeightDecay())
        .isEqualTo(0.01);
  }

  @Test
  void linearTakesTheDatasShape() {
    BuiltinModel onRegression = specs.complete(linear().build()).getModel().getBuiltin();
    assertThat(onRegression.getInFeatures()).isEqualTo(2);
    assertThat(onRegression.getOutFeatures()).isEqualTo(1);
    BuiltinModel onPictures =
        specs.complete(mnist().setModel(model("linear")).build()).getModel().getBuiltin();
    assertThat(onPictures.getInFeatures()).isEqualTo(784);
    assertThat(onPictures.getOutFeatures()).isEqualTo(10);
  }

  @Test
  void numbersOutOfRangeNameTheirFieldAndWhatWouldBeRight() {
    refused(
        mnist(),
        s -> s.setName("a b"),
        "name: it is 'a b'; it must be 1 to 63 of A-Z a-z 0-9 . _ -");
    refused(
        mnist(),
        s -> s.getTrainingBuilder().setBatchSize(-4),
        "training.batch_size: it is -4; it must be at least 1");
    refused(
        mnist(),
        s -> s.getTrainingBuilder().setEpochs(0),
        "training.epochs: neither it nor training.max_steps is set; set one of them to at least 1");
    refused(
        linear(),
        s -> s.getTrainingBuilder().getOptimizerBuilder().getSgdBuilder().setLr(0),
        "training.optimizer.sgd.lr: it is 0.0; it must be above 0");
    refused(
        linear(),
        s -> s.getTrainingBuilder().getOptimizerBuilder().getSgdBuilder().setLr(Double.NaN),
        "training.optimizer.sgd.lr: it is NaN; it must be above 0");
    refused(
        linear(),
        s -> s.getTrainingBuilder().getOptimizerBuilder().getSgdBuilder().setNesterov(true),
        "training.optimizer.sgd.nesterov: it is true without momentum; it must be set together with"
            + " a momentum above 0");
    refused(
        mnist(),
        s -> s.getTrainingBuilder().getOptimizerBuilder().getAdamBuilder().addBetas(0.9),
        "training.optimizer.adam.betas: it is 1 numbers; it must be two, as [0.9, 0.999]");
    refused(
        mnist(),
        s -> s.getTrainingBuilder().clearOptimizer(),
        "training.optimizer: it is missing; use sgd, adam or adamw, as {sgd: {lr: 0.01}}");
    refused(
        mnist(),
        s -> s.getTrainingBuilder().clearLoss(),
        "training.loss: it is missing; use cross_entropy or mse");
    refused(
        mnist(),
        s -> s.getResourcesBuilder().setMemory(1000),
        "resources.memory: it is 1000; it must be at least 64Mi (bytes, as 2Gi)");
    refused(
        mnist(),
        s -> s.getCheckpointBuilder().setInterval(Duration.newBuilder().setSeconds(-1)),
        "checkpoint.interval: it is -1.000s; it must be above 0 and at most 24h, as 30s or 10m");
    refused(
        mnist(),
        s -> s.getDataBuilder().getEvalBuilder().setShuffle(true),
        "data.eval.shuffle: it is true; it must be false, or left out");
    refused(
        mnist(),
        s -> s.getDataBuilder().getTrainBuilder().setBatchSize(3),
        "data.train.batch_size: it is for data.eval alone; set training.batch_size");
  }

  @Test
  void aJobMayHaveReplicasAndItsShardsAreAsManyUnlessItSays() {
    JobSpec.Builder replicas = mnist();
    replicas.getReplicasBuilder().setMax(4);
    Replicas complete = specs.complete(replicas.build()).getReplicas();
    assertThat(complete.getMin()).isEqualTo(1);
    assertThat(complete.getMax()).isEqualTo(4);
    assertThat(complete.getShards()).isEqualTo(4);
    refused(
        mnist(),
        s -> {
          s.getReplicasBuilder().setMax(65);
          s.getTrainingBuilder().setBatchSize(100);
        },
        "replicas.max: it is 65; it must be at most 64");
    refused(
        mnist(),
        s -> s.getReplicasBuilder().setMin(3).setMax(2),
        "replicas.min: it is 3; it must be at most replicas.max, which is 2");
    refused(
        mnist(),
        s -> s.getReplicasBuilder().setMax(4).setShards(2),
        "replicas.shards: it is 2; it must be at least replicas.max, which is 4");
    refused(
        mnist(),
        s -> {
          s.getReplicasBuilder().setShards(8);
          s.getTrainingBuilder().setBatchSize(4);
        },
        "training.batch_size: it is 4; it must be at least replicas.shards, which is 8");
    JobSpec.Builder shards = mnist();
    shards.getReplicasBuilder().setShards(4);
    assertThat(specs.complete(shards.build()).getReplicas().getShards()).isEqualTo(4);
  }

  @Test
  void theDataMustExistAndFitTheModel() {
    refused(
        mnist(),
        s -> s.getDataBuilder().getTrainBuilder().setDataset("minst"),
        "data.train.dataset: there is no data set minst; push it with: baton dataset push minst"
            + " PATH");
    refused(
        mnist(),
        s -> s.getDataBuilder().getTrainBuilder().setDataset("mnist@other"),
        "data.train.dataset: it wants mnist@other, but data set mnist has digest digest-of-mnist");
    refused(
        mnist(),
        s -> s.getDataBuilder().getEvalBuilder().setSplit("valid"),
        "data.eval.split: data set mnist has no split valid; it has train, test");
    refused(
        mnist(),
        s -> s.setModel(model("lenet")),
        "model.builtin.name: lenet takes pictures of 3x32x32, but data.train has pictures of"
            + " 1x28x28; use resnet18, or linear");
    refused(
        mnist(),
        s -> {
          s.getDataBuilder().getTrainBuilder().setDataset("cifar10");
          s.getDataBuilder().getEvalBuilder().setDataset("cifar10");
        },
        "model.builtin.name: mnist-cnn takes pictures of one channel and at least 14x14, but"
            + " data.train has pictures of 3x32x32; use resnet18, or linear");
    refused(
        mnist(),
        s -> s.getDataBuilder().getEvalBuilder().setDataset("cifar10"),
        "data.eval: it has pictures of 3x32x32, data.train has pictures of 1x28x28; they must be"
            + " alike");
    refused(
        mnist(),
        s -> s.setModel(model("mnist-kann")),
        "model.builtin.name: there is no model 'mnist-kann'; there are linear, lenet, mnist-cnn,"
            + " resnet18-d2l, resnet18");
    refused(
        mnist(),
        s -> s.getModelBuilder().getBuiltinBuilder().setNumClasses(5),
        "model.builtin.num_classes: it is 5, but data.train has labels up to 9: use 10, or leave"
            + " it out");
    refused(
        linear(),
        s -> s.setModel(model("lenet")),
        "model.builtin.name: lenet takes pictures, but data.train has 2 features; use linear");
    refused(
        linear(),
        s -> s.getTrainingBuilder().setLoss(Loss.LOSS_CROSS_ENTROPY),
        "training.loss: it is cross_entropy, but data.train has no classes (a regression); use"
            + " mse");
    refused(
        mnist(),
        s -> s.getTrainingBuilder().setLoss(Loss.LOSS_MSE),
        "training.loss: it is mse, but data.train has classes; use cross_entropy");
    refused(
        linear(),
        s -> s.getModelBuilder().getBuiltinBuilder().setInFeatures(3),
        "model.builtin.in_features: it is 3, but data.train has 2 features: use 2, or leave it"
            + " out");
  }

  @Test
  void picturesThatDifferInSizeNeedAResize() {
    JobSpec.Builder photos = mnist().setModel(model("resnet18"));
    photos.getDataBuilder().getTrainBuilder().setDataset("photos");
    photos.getDataBuilder().getEvalBuilder().setDataset("photos");
    refused(
        photos,
        s -> {},
        "data.train.dataset: the pictures of photos differ in size; add {resize: {size: [h, w]}} to"
            + " data.transforms");
    photos
        .getDataBuilder()
        .addTransforms(
            Transform.newBuilder().setResize(Resize.newBuilder().addSize(32).addSize(48)))
        .addTransforms(
            Transform.newBuilder().setNormalize(Normalize.newBuilder().addMean(0.5).addStd(0.5)));
    assertThat(specs.complete(photos.build()).getModel().getBuiltin().getInChannels()).isEqualTo(3);
    refused(
        photos,
        s -> s.getDataBuilder().getTransformsBuilder(1).getNormalizeBuilder().addMean(0.4),
        "data.transforms[1].normalize.mean: it is 2 values; it must be one, or one for each of the"
            + " 3 channels");
    refused(
        photos,
        s -> s.getDataBuilder().getTransformsBuilder(0).getResizeBuilder().clearSize(),
        "data.transforms[0].resize.size: it is 0 numbers; it must be [h, w], or one number for the"
            + " shorter edge");
  }

  @Test
  void picturesBeyondAllMeasureAreRefused() {
    JobSpec.Builder wide = mnist().setModel(model("resnet18"));
    wide.getDataBuilder().getTrainBuilder().setDataset("wide");
    wide.getDataBuilder().getEvalBuilder().setDataset("wide");
    wide.getDataBuilder()
        .addTransforms(Transform.newBuilder().setResize(Resize.newBuilder().addSize(10_000)));
    specs.complete(wide.build());
    refused(
        wide,
        s -> s.getDataBuilder().getTransformsBuilder(0).getResizeBuilder().setSize(0, 16_384),
        "data.transforms[0].resize.size: it is for pictures of 3x16384x49152; it must be for"
            + " pictures of 2147483647 values at most");
    refused(
        wide,
        s -> s.getDataBuilder().getTrainBuilder().setDataset("absurd"),
        "data.train.dataset: it is for pictures of 3x1073741824x1073741824; it must be for pictures"
            + " of 2147483647 values at most");
  }

  @Test
  void batchNormOnOneSampleIsRefused() {
    JobSpec.Builder resnet = mnist().setModel(model("resnet18"));
    resnet.getDataBuilder().getTrainBuilder().setDataset("cifar10");
    resnet.getDataBuilder().getEvalBuilder().setDataset("cifar10");
    resnet.getTrainingBuilder().setBatchSize(100);
    refused(
        resnet,
        s -> {},
        "training.batch_size: it is 100, so that the last batch of 50001 samples has 1, and batch"
            + " norm needs two in a shard; use another batch size, or data.train.drop_last: true");
    resnet.getDataBuilder().getTrainBuilder().setDropLast(true);
    specs.complete(resnet.build());
    refused(
        resnet,
        s -> s.getReplicasBuilder().setShards(51),
        "training.batch_size: it is 100 in 51 shards, so that a shard has one sample, and batch"
            + " norm needs two; use at least 102");
    refused(
        resnet,
        s -> s.getTrainingBuilder().setBatchSize(60_000),
        "data.train.drop_last: it is true and the split has 50001 samples, fewer than"
            + " training.batch_size 60000: there would be no step; use a smaller batch, or"
            + " drop_last: false");
  }

  @Test
  void classesComeFromTheData() {
    JobSpec.Builder flowers = mnist().setModel(model("lenet"));
    flowers.getDataBuilder().getTrainBuilder().setDataset("flowers");
    flowers.getDataBuilder().getEvalBuilder().setDataset("flowers");
    assertThat(specs.complete(flowers.build()).getModel().getBuiltin().getNumClasses())
        .isEqualTo(102);
  }
}
