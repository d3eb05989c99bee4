package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.invalid;
import static dev.baton.coordinator.core.SpecChecks.check;

import dev.baton.v1.Data;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetSplit;
import dev.baton.v1.Source;
import dev.baton.v1.Transform;
import java.util.Optional;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * What a source gives the model: how many samples, of which shape after the transforms, with how
 * many classes.
 *
 * @param path of the source in the job file
 * @param channels 0 where the samples are no pictures
 * @param height 0 where it differs from picture to picture
 * @param width as height
 * @param features of one sample, flattened; 0 where pictures differ
 * @param classes 0 for a regression
 */
record SampleShape(
    String path, long samples, int channels, int height, int width, int features, int classes) {

  boolean pictures() {
    return channels > 0;
  }

  String describe() {
    return pictures()
        ? "pictures of " + channels + "x" + side(height) + "x" + side(width)
        : features + " features";
  }

  private static String side(int length) {
    return length == 0 ? "?" : Integer.toString(length);
  }

  /**
   * The shape of a source.
   *
   * @param dataset what {@code source.dataset} names; null for synthetic data
   */
  static SampleShape of(String path, Data data, Source source, @Nullable Dataset dataset) {
    if (dataset == null) {
      if (data.getTransformsCount() > 0) {
        throw invalid(
            "data.transforms: there are "
                + data.getTransformsCount()
                + ", but synthetic data has no pictures; leave them out");
      }
      return new SampleShape(
          path, source.getSynthetic().getRegression().getSamples(), 0, 0, 0, 2, 0);
    }
    DatasetSplit split = split(path, source, dataset);
    if (split.getShapeCount() != 3) {
      throw invalid(
          path
              + ".dataset: "
              + dataset.getName()
              + " has samples of "
              + split.getShapeCount()
              + " dimensions; only pictures [channels, height, width] can be trained on");
    }
    int channels = split.getShape(0);
    long height = split.getShape(1);
    long width = split.getShape(2);
    checkSize(path + ".dataset", channels, height, width);
    for (int i = 0; i < data.getTransformsCount(); i++) {
      Transform transform = data.getTransforms(i);
      if (transform.hasResize()) {
        if (transform.getResize().getSizeCount() == 2) {
          height = transform.getResize().getSize(0);
          width = transform.getResize().getSize(1);
        } else if (height > 0 && width > 0) {
          // torchvision's Resize of one number: the shorter edge, the longer one in proportion.
          int size = transform.getResize().getSize(0);
          long longer = size * Math.max(height, width) / Math.min(height, width);
          boolean tall = height > width;
          height = tall ? longer : size;
          width = tall ? size : longer;
        }
        checkSize("data.transforms[" + i + "].resize.size", channels, height, width);
      }
    }
    if (height == 0 || width == 0) {
      throw invalid(
          path
              + ".dataset: the pictures of "
              + dataset.getName()
              + " differ in size; add {resize: {size: [h, w]}} to data.transforms");
    }
    return new SampleShape(
        path,
        split.getSamples(),
        channels,
        Math.toIntExact(height),
        Math.toIntExact(width),
        Math.toIntExact(channels * height * width),
        split.getClasses());
  }

  private static void checkSize(String path, int channels, long height, long width) {
    check(
        (double) Math.max(1, channels) * height * width <= Integer.MAX_VALUE,
        path,
        "for pictures of " + channels + "x" + height + "x" + width,
        "for pictures of " + Integer.MAX_VALUE + " values at most");
  }

  private static DatasetSplit split(String path, Source source, Dataset dataset) {
    Optional<DatasetSplit> split =
        dataset.getSplitsList().stream()
            .filter(s -> s.getName().equals(source.getSplit()))
            .findFirst();
    return split.orElseThrow(
        () ->
            CoordinatorException.precondition(
                path
                    + ".split: data set "
                    + dataset.getName()
                    + " has no split "
                    + source.getSplit()
                    + "; it has "
                    + dataset.getSplitsList().stream()
                        .map(DatasetSplit::getName)
                        .collect(Collectors.joining(", "))));
  }
}
