package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.invalid;
import static dev.baton.coordinator.core.CoordinatorException.precondition;

import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.Duration;
import dev.baton.v1.Adam;
import dev.baton.v1.BuiltinModel;
import dev.baton.v1.CheckpointPolicy;
import dev.baton.v1.Data;
import dev.baton.v1.Dataset;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.v1.Model;
import dev.baton.v1.Normalize;
import dev.baton.v1.Optimizer;
import dev.baton.v1.Precision;
import dev.baton.v1.Replicas;
import dev.baton.v1.Resize;
import dev.baton.v1.Resources;
import dev.baton.v1.Retries;
import dev.baton.v1.Sgd;
import dev.baton.v1.Source;
import dev.baton.v1.SyntheticRegression;
import dev.baton.v1.Training;
import dev.baton.v1.Transform;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Checks a job's spec against the data that it names, and fills in every default. A refusal names
 * the field by its path in the job file and says what would be right.
 */
public final class JobSpecs {

  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9._-]{1,63}");
  private static final List<String> MODELS =
      List.of("linear", "lenet", "mnist-cnn", "resnet18-d2l", "resnet18");

  private static final long GIB = 1L << 30;
  private static final long MIN_MEMORY = 64L << 20;
  private static final int MAX_REPLICAS = 64;
  private static final int MAX_CLASSES = 1_000_000;
  private static final int MAX_EDGE = 16_384;

  private final Function<String, Optional<Dataset>> datasets;

  /**
   * @param datasets finds a data set by its name
   */
  public JobSpecs(Function<String, Optional<Dataset>> datasets) {
    this.datasets = datasets;
  }

  /** A duration in milliseconds, rounded down. */
  static long millis(Duration duration) {
    return duration.getSeconds() * 1000 + duration.getNanos() / 1_000_000;
  }

  /** Lower-case hexadecimal SHA-256 of a spec, the same for equal specs. */
  public static String digest(JobSpec spec) {
    byte[] bytes = new byte[spec.getSerializedSize()];
    CodedOutputStream out = CodedOutputStream.newInstance(bytes);
    out.useDeterministicSerialization();
    try {
      spec.writeTo(out);
      out.checkNoSpaceLeft();
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (IOException e) {
      throw new UncheckedIOException("an array of the right size was too small", e);
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
  }

  /**
   * The spec with every default filled in and its data sets held to their digests.
   *
   * @throws CoordinatorException INVALID_ARGUMENT where a field is wrong; FAILED_PRECONDITION where
   *     a data set does not exist or does not fit
   */
  public JobSpec complete(JobSpec spec) {
    check(
        NAME.matcher(spec.getName()).matches(),
        "name",
        quoted(spec.getName()),
        "1 to 63 of A-Z a-z 0-9 . _ -");
    Training training = training(spec.getTraining());
    Replicas replicas = replicas(spec.getReplicas(), training);
    Data data = spec.getData();
    if (!data.hasTrain()) {
      throw invalid("data.train: it is missing; name a dataset, or synthetic: {regression: ...}");
    }
    transforms(data);
    Source train = trainSource(data.getTrain());
    Optional<Dataset> trainSet = dataset("data.train", train);
    Data.Builder completeData = data.toBuilder().setTrain(pinned(train, trainSet));
    SampleShape trainShape = SampleShape.of("data.train", data, train, trainSet.orElse(null));
    Model model = model(spec.getModel(), training, trainShape);
    fits(model.getBuiltin(), training.getLoss(), trainShape);
    channels(data, trainShape);
    long steps = batches(model.getBuiltin(), training, replicas, train, trainShape);
    if (steps == 0) {
      throw invalid(
          "data.train.drop_last: it is true and the split has "
              + trainShape.samples()
              + " samples, fewer than training.batch_size "
              + training.getBatchSize()
              + ": there would be no step; use a smaller batch, or drop_last: false");
    }
    if (data.hasEval()) {
      Source eval = evalSource(data.getEval(), training.getBatchSize());
      Optional<Dataset> evalSet = dataset("data.eval", eval);
      completeData.setEval(pinned(eval, evalSet));
      SampleShape evalShape = SampleShape.of("data.eval", data, eval, evalSet.orElse(null));
      if (evalShape.channels() != trainShape.channels()
          || evalShape.height() != trainShape.height()
          || evalShape.width() != trainShape.width()
          || evalShape.features() != trainShape.features()) {
        throw precondition(
            "data.eval: it has "
                + evalShape.describe()
                + ", data.train has "
                + trainShape.describe()
                + "; they must be alike");
      }
      fits(model.getBuiltin(), training.getLoss(), evalShape);
    }
    return spec.toBuilder()
        .setModel(model)
        .setData(completeData)
        .setTraining(training)
        .setReplicas(replicas)
        .setResources(resources(spec.getResources()))
        .setCheckpoint(checkpoint(spec.getCheckpoint()))
        .setRetries(retries(spec.getRetries()))
        .build();
  }

  /** The names of the data sets that a stored spec refers to, without their digests. */
  static List<String> datasetNames(JobSpec spec) {
    return Stream.of(spec.getData().getTrain(), spec.getData().getEval())
        .filter(Source::hasDataset)
        .map(source -> nameOf(source.getDataset()))
        .distinct()
        .toList();
  }

  private static String nameOf(String dataset) {
    int at = dataset.indexOf('@');
    return at < 0 ? dataset : dataset.substring(0, at);
  }

  private static Training training(Training training) {
    check(training.getEpochs() >= 0, "training.epochs", training.getEpochs(), "0 or more");
    check(training.getMaxSteps() >= 0, "training.max_steps", training.getMaxSteps(), "0 or more");
    if (training.getEpochs() == 0 && training.getMaxSteps() == 0) {
      throw invalid(
          "training.epochs: neither it nor training.max_steps is set; set one of them to at least"
              + " 1");
    }
    check(
        training.getBatchSize() >= 1, "training.batch_size", training.getBatchSize(), "at least 1");
    if (training.getLoss() == Loss.LOSS_UNSPECIFIED || training.getLoss() == Loss.UNRECOGNIZED) {
      throw invalid("training.loss: it is missing; use cross_entropy or mse");
    }
    if (training.getPrecision() == Precision.UNRECOGNIZED) {
      throw invalid("training.precision: it is unknown; use fp32");
    }
    check(
        !training.hasLogEvery() || training.getLogEvery() >= 1,
        "training.log_every",
        training.getLogEvery(),
        "at least 1");
    return training.toBuilder()
        .setOptimizer(optimizer(training.getOptimizer()))
        .setExact(!training.hasExact() || training.getExact())
        .setPrecision(Precision.PRECISION_FP32)
        .setLogEvery(training.hasLogEvery() ? training.getLogEvery() : 50)
        .build();
  }

  private static Optimizer optimizer(Optimizer optimizer) {
    return switch (optimizer.getKindCase()) {
      case SGD -> {
        Sgd sgd = optimizer.getSgd();
        String path = "training.optimizer.sgd";
        positive(path + ".lr", sgd.getLr());
        notNegative(path + ".momentum", sgd.getMomentum());
        notNegative(path + ".weight_decay", sgd.getWeightDecay());
        check(
            !sgd.getNesterov() || sgd.getMomentum() > 0,
            path + ".nesterov",
            "true without momentum",
            "set together with a momentum above 0");
        yield optimizer;
      }
      case ADAM ->
          optimizer.toBuilder()
              .setAdam(adam("training.optimizer.adam", optimizer.getAdam(), 0))
              .build();
      case ADAMW ->
          optimizer.toBuilder()
              .setAdamw(adam("training.optimizer.adamw", optimizer.getAdamw(), 0.01))
              .build();
      case KIND_NOT_SET ->
          throw invalid(
              "training.optimizer: it is missing; use sgd, adam or adamw, as {sgd: {lr: 0.01}}");
    };
  }

  private static Adam adam(String path, Adam adam, double weightDecay) {
    Adam.Builder complete =
        adam.toBuilder()
            .setLr(adam.hasLr() ? adam.getLr() : 0.001)
            .setEps(adam.hasEps() ? adam.getEps() : 1e-8)
            .setWeightDecay(adam.hasWeightDecay() ? adam.getWeightDecay() : weightDecay);
    if (adam.getBetasCount() == 0) {
      complete.addBetas(0.9).addBetas(0.999);
    }
    positive(path + ".lr", complete.getLr());
    notNegative(path + ".eps", complete.getEps());
    notNegative(path + ".weight_decay", complete.getWeightDecay());
    check(
        complete.getBetasCount() == 2,
        path + ".betas",
        complete.getBetasCount() + " numbers",
        "two, as [0.9, 0.999]");
    for (double beta : complete.getBetasList()) {
      check(beta >= 0 && beta < 1, path + ".betas", beta, "at least 0 and below 1");
    }
    return complete.build();
  }

  private static Replicas replicas(Replicas replicas, Training training) {
    check(replicas.getMin() >= 0, "replicas.min", replicas.getMin(), "at least 1");
    check(replicas.getMax() >= 0, "replicas.max", replicas.getMax(), "at least 1");
    check(replicas.getShards() >= 0, "replicas.shards", replicas.getShards(), "at least 1");
    int min = replicas.getMin() == 0 ? 1 : replicas.getMin();
    int max = replicas.getMax() == 0 ? min : replicas.getMax();
    int shards = replicas.getShards() == 0 ? max : replicas.getShards();
    check(min <= max, "replicas.min", min, "at most replicas.max, which is " + max);
    check(shards >= max, "replicas.shards", shards, "at least replicas.max, which is " + max);
    check(
        training.getBatchSize() >= shards,
        "training.batch_size",
        training.getBatchSize(),
        "at least replicas.shards, which is " + shards);
    check(max <= MAX_REPLICAS, "replicas.max", max, "at most " + MAX_REPLICAS);
    return Replicas.newBuilder().setMin(min).setMax(max).setShards(shards).build();
  }

  private static void transforms(Data data) {
    for (int i = 0; i < data.getTransformsCount(); i++) {
      String path = "data.transforms[" + i + "]";
      Transform transform = data.getTransforms(i);
      switch (transform.getKindCase()) {
        case NORMALIZE -> normalize(path + ".normalize", transform.getNormalize());
        case RESIZE -> resize(path + ".resize", transform.getResize());
        case KIND_NOT_SET -> throw invalid(path + ": it is empty; use normalize or resize");
      }
    }
  }

  private static void normalize(String path, Normalize normalize) {
    check(normalize.getMeanCount() > 0, path + ".mean", "missing", "one value for each channel");
    check(normalize.getStdCount() > 0, path + ".std", "missing", "one value for each channel");
    for (double mean : normalize.getMeanList()) {
      check(Double.isFinite(mean), path + ".mean", mean, "finite");
    }
    for (double std : normalize.getStdList()) {
      positive(path + ".std", std);
    }
  }

  private static void resize(String path, Resize resize) {
    check(
        resize.getSizeCount() == 1 || resize.getSizeCount() == 2,
        path + ".size",
        resize.getSizeCount() + " numbers",
        "[h, w], or one number for the shorter edge");
    for (int size : resize.getSizeList()) {
      check(size >= 1 && size <= MAX_EDGE, path + ".size", size, "1 to " + MAX_EDGE);
    }
  }

  private static void channels(Data data, SampleShape shape) {
    for (int i = 0; i < data.getTransformsCount(); i++) {
      Transform transform = data.getTransforms(i);
      if (transform.hasNormalize()) {
        String path = "data.transforms[" + i + "].normalize";
        perChannel(path + ".mean", transform.getNormalize().getMeanCount(), shape);
        perChannel(path + ".std", transform.getNormalize().getStdCount(), shape);
      }
    }
  }

  private static void perChannel(String path, int values, SampleShape shape) {
    check(
        values == 1 || values == shape.channels(),
        path,
        values + " values",
        "one, or one for each of the " + shape.channels() + " channels");
  }

  private static Source trainSource(Source source) {
    if (source.hasBatchSize()) {
      throw invalid("data.train.batch_size: it is for data.eval alone; set training.batch_size");
    }
    return source.toBuilder()
        .setSplit(split(source, "train"))
        .setShuffle(!source.hasShuffle() || source.getShuffle())
        .setDropLast(source.getDropLast())
        .build();
  }

  private static Source evalSource(Source source, int trainingBatch) {
    check(!source.getShuffle(), "data.eval.shuffle", "true", "false, or left out");
    check(!source.getDropLast(), "data.eval.drop_last", "true", "false, or left out");
    check(
        !source.hasBatchSize() || source.getBatchSize() >= 1,
        "data.eval.batch_size",
        source.getBatchSize(),
        "at least 1");
    return source.toBuilder()
        .setSplit(split(source, "test"))
        .setShuffle(false)
        .setDropLast(false)
        .setBatchSize(source.hasBatchSize() ? source.getBatchSize() : Math.max(256, trainingBatch))
        .build();
  }

  /** Synthetic data has no splits; a stored spec says so. */
  private static String split(Source source, String otherwise) {
    if (!source.hasDataset()) {
      return "";
    }
    return source.getSplit().isEmpty() ? otherwise : source.getSplit();
  }

  /** The data set that a source names; empty for synthetic data. */
  private Optional<Dataset> dataset(String path, Source source) {
    switch (source.getSourceCase()) {
      case DATASET -> {
        return Optional.of(find(path + ".dataset", source.getDataset()));
      }
      case SYNTHETIC -> {
        if (!source.getSynthetic().hasRegression()) {
          throw invalid(path + ".synthetic: it is empty; use {regression: {samples: 1000}}");
        }
        SyntheticRegression regression = source.getSynthetic().getRegression();
        check(
            regression.getSamples() >= 1,
            path + ".synthetic.regression.samples",
            regression.getSamples(),
            "at least 1");
        return Optional.empty();
      }
      case SOURCE_NOT_SET -> {}
    }
    throw invalid(path + ": it names no data; use dataset: NAME, or synthetic: {regression: ...}");
  }

  private Dataset find(String path, String reference) {
    String name = nameOf(reference);
    check(
        DatasetChecks.isName(name),
        path,
        quoted(reference),
        "a data set's name, 1 to 63 of a-z 0-9 . _ -, or name@digest");
    Dataset dataset =
        datasets
            .apply(name)
            .orElseThrow(
                () ->
                    precondition(
                        path
                            + ": there is no data set "
                            + name
                            + "; push it with: baton dataset push "
                            + name
                            + " PATH"));
    if (name.length() < reference.length()
        && !reference.substring(name.length() + 1).equals(dataset.getDigest())) {
      throw precondition(
          path
              + ": it wants "
              + reference
              + ", but data set "
              + name
              + " has digest "
              + dataset.getDigest());
    }
    return dataset;
  }

  private static Source pinned(Source source, Optional<Dataset> dataset) {
    return dataset
        .map(d -> source.toBuilder().setDataset(d.getName() + "@" + d.getDigest()).build())
        .orElse(source);
  }

  private static Model model(Model model, Training training, SampleShape data) {
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
  private static void fits(BuiltinModel model, Loss loss, SampleShape data) {
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
  private static long batches(
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

  private static Resources resources(Resources resources) {
    check(
        !resources.hasGpus() || resources.getGpus() == 0 || resources.getGpus() == 1,
        "resources.gpus",
        resources.getGpus(),
        "0 or 1: a replica trains on one device");
    check(
        !resources.hasCpus() || (resources.getCpus() >= 1 && resources.getCpus() <= 1024),
        "resources.cpus",
        resources.getCpus(),
        "1 to 1024");
    check(
        resources.getMemory() == 0 || resources.getMemory() >= MIN_MEMORY,
        "resources.memory",
        resources.getMemory(),
        "at least 64Mi (bytes, as 2Gi)");
    return resources.toBuilder()
        .setCpus(resources.hasCpus() ? resources.getCpus() : 1)
        .setMemory(resources.getMemory() == 0 ? 2 * GIB : resources.getMemory())
        .build();
  }

  private static CheckpointPolicy checkpoint(CheckpointPolicy policy) {
    int keep = policy.hasKeep() ? policy.getKeep() : 3;
    check(keep >= 1 && keep <= 1000, "checkpoint.keep", keep, "1 to 1000");
    return CheckpointPolicy.newBuilder()
        .setInterval(
            duration(
                "checkpoint.interval", policy.hasInterval() ? policy.getInterval() : null, 30, 1))
        .setKeep(keep)
        .build();
  }

  private static Retries retries(Retries retries) {
    int max = retries.hasMax() ? retries.getMax() : 3;
    check(max >= 0 && max <= 1000, "retries.max", max, "0 to 1000");
    return Retries.newBuilder()
        .setMax(max)
        .setBackoff(
            duration("retries.backoff", retries.hasBackoff() ? retries.getBackoff() : null, 10, 0))
        .build();
  }

  /** A duration of at most a day, of whole milliseconds. */
  private static Duration duration(
      String path, @Nullable Duration given, long otherwiseSeconds, long leastMillis) {
    if (given == null) {
      return Duration.newBuilder().setSeconds(otherwiseSeconds).build();
    }
    boolean sane =
        given.getSeconds() >= 0
            && given.getSeconds() <= 86_400
            && given.getNanos() >= 0
            && given.getNanos() < 1_000_000_000
            && millis(given) >= leastMillis;
    check(
        sane,
        path,
        String.format(Locale.ROOT, "%.3fs", given.getSeconds() + given.getNanos() / 1e9),
        (leastMillis > 0 ? "above 0" : "0 or more") + " and at most 24h, as 30s or 10m");
    return given;
  }

  private static void positive(String path, double value) {
    check(Double.isFinite(value) && value > 0, path, value, "above 0");
  }

  private static void notNegative(String path, double value) {
    check(Double.isFinite(value) && value >= 0, path, value, "0 or more");
  }

  private static void check(boolean right, String path, Object is, String wanted) {
    if (!right) {
      throw invalid(path + ": it is " + is + "; it must be " + wanted);
    }
  }

  private static String quoted(String text) {
    String shown = text.length() <= 80 ? text : text.substring(0, 80) + "...";
    return shown.isEmpty() ? "empty" : "'" + shown.replaceAll("\\p{Cntrl}", "?") + "'";
  }
}
