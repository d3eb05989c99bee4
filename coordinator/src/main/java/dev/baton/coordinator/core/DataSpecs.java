package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.invalid;
import static dev.baton.coordinator.core.CoordinatorException.precondition;
import static dev.baton.coordinator.core.SpecChecks.check;
import static dev.baton.coordinator.core.SpecChecks.positive;
import static dev.baton.coordinator.core.SpecChecks.quoted;

import dev.baton.v1.Data;
import dev.baton.v1.Dataset;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Normalize;
import dev.baton.v1.Resize;
import dev.baton.v1.Source;
import dev.baton.v1.SyntheticRegression;
import dev.baton.v1.Transform;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Stream;

/** A spec's data: its sources, their data sets, what is done to each sample. */
final class DataSpecs {
  private static final int MAX_EDGE = 16_384;

  private final Function<String, Optional<Dataset>> datasets;

  /**
   * @param datasets finds a data set by its name
   */
  DataSpecs(Function<String, Optional<Dataset>> datasets) {
    this.datasets = datasets;
  }

  /** The names of the data sets that a stored spec refers to, without their digests. */
  static List<String> datasetNames(JobSpec spec) {
    return Stream.of(spec.getData().getTrain(), spec.getData().getEval())
        .filter(Source::hasDataset)
        .map(source -> nameOf(source.getDataset()))
        .distinct()
        .toList();
  }

  static void transforms(Data data) {
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

  static void channels(Data data, SampleShape shape) {
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

  static Source trainSource(Source source) {
    if (source.hasBatchSize()) {
      throw invalid("data.train.batch_size: it is for data.eval alone; set training.batch_size");
    }
    return source.toBuilder()
        .setSplit(split(source, "train"))
        .setShuffle(!source.hasShuffle() || source.getShuffle())
        .setDropLast(source.getDropLast())
        .build();
  }

  static Source evalSource(Source source, int trainingBatch) {
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
  Optional<Dataset> dataset(String path, Source source) {
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

  static Source pinned(Source source, Optional<Dataset> dataset) {
    return dataset
        .map(d -> source.toBuilder().setDataset(d.getName() + "@" + d.getDigest()).build())
        .orElse(source);
  }

  private static String nameOf(String dataset) {
    int at = dataset.indexOf('@');
    return at < 0 ? dataset : dataset.substring(0, at);
  }
}
