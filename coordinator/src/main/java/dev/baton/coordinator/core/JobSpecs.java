package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.invalid;
import static dev.baton.coordinator.core.CoordinatorException.precondition;
import static dev.baton.coordinator.core.SpecChecks.check;
import static dev.baton.coordinator.core.SpecChecks.notNegative;
import static dev.baton.coordinator.core.SpecChecks.positive;
import static dev.baton.coordinator.core.SpecChecks.quoted;

import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.Duration;
import dev.baton.v1.Adam;
import dev.baton.v1.CheckpointPolicy;
import dev.baton.v1.Data;
import dev.baton.v1.Dataset;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.v1.Model;
import dev.baton.v1.Optimizer;
import dev.baton.v1.Precision;
import dev.baton.v1.Replicas;
import dev.baton.v1.Resources;
import dev.baton.v1.Retries;
import dev.baton.v1.Sgd;
import dev.baton.v1.Source;
import dev.baton.v1.Training;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Function;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Checks a job's spec against the data that it names, and fills in every default. A refusal names
 * the field by its path in the job file and says what would be right.
 */
public final class JobSpecs {

  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9._-]{1,63}");
  private static final long GIB = 1L << 30;
  private static final long MIN_MEMORY = 64L << 20;
  private static final int MAX_REPLICAS = 64;

  private final DataSpecs sources;

  /**
   * @param datasets finds a data set by its name
   */
  public JobSpecs(Function<String, Optional<Dataset>> datasets) {
    this.sources = new DataSpecs(datasets);
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
    DataSpecs.transforms(data);
    Source train = DataSpecs.trainSource(data.getTrain());
    Optional<Dataset> trainSet = sources.dataset("data.train", train);
    Data.Builder completeData = data.toBuilder().setTrain(DataSpecs.pinned(train, trainSet));
    SampleShape trainShape = SampleShape.of("data.train", data, train, trainSet.orElse(null));
    Model model = ModelSpecs.complete(spec.getModel(), training, trainShape);
    ModelSpecs.fits(model.getBuiltin(), training.getLoss(), trainShape);
    DataSpecs.channels(data, trainShape);
    long steps = ModelSpecs.batches(model.getBuiltin(), training, replicas, train, trainShape);
    if (steps == 0) {
      throw invalid(
          "data.train.drop_last: it is true and the split has "
              + trainShape.samples()
              + " samples, fewer than training.batch_size "
              + training.getBatchSize()
              + ": there would be no step; use a smaller batch, or drop_last: false");
    }
    if (data.hasEval()) {
      Source eval = DataSpecs.evalSource(data.getEval(), training.getBatchSize());
      Optional<Dataset> evalSet = sources.dataset("data.eval", eval);
      completeData.setEval(DataSpecs.pinned(eval, evalSet));
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
      ModelSpecs.fits(model.getBuiltin(), training.getLoss(), evalShape);
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
}
