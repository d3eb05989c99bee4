package dev.baton.worker.data;

import dev.baton.worker.trainer.DType;
import java.util.List;

/**
 * What every sample of a source looks like.
 *
 * @param xType UINT8 for pictures, FLOAT32 for features
 * @param xShape of one sample: [channels, height, width], or [features]
 * @param yType INT64 for class indices (a scalar for each sample), FLOAT32 for regression ([1] for
 *     each sample)
 * @param classes number of classes; 0 for regression
 * @param classNames by index; empty where unknown
 */
public record SampleFormat(
    DType xType, List<Integer> xShape, DType yType, int classes, List<String> classNames) {
  public SampleFormat {
    xShape = List.copyOf(xShape);
    classNames = List.copyOf(classNames);
  }

  /** Bytes of one sample's x. */
  public int xBytes() {
    return xType.bytes()
        * xShape.stream().mapToInt(Integer::intValue).reduce(1, Math::multiplyExact);
  }

  /** Bytes of one sample's y. */
  public int yBytes() {
    return yType.bytes();
  }
}
