package dev.baton.worker.data;

import dev.baton.worker.trainer.DType;
import java.util.List;

/**
 * What every sample of a source looks like.
 *
 * @param xType UINT8 for pictures, FLOAT32 for features
 * @param xShape of one sample as it is stored: [channels, height, width], or [features]
 * @param yType INT64 for class indices (a scalar for each sample), FLOAT32 for regression ([1] for
 *     each sample)
 * @param classes number of classes; 0 for regression
 * @param classNames by index; empty where unknown
 * @param resizing what is still to be done to the pictures on the device, before all else
 */
public record SampleFormat(
    DType xType,
    List<Integer> xShape,
    DType yType,
    int classes,
    List<String> classNames,
    Resizing resizing) {
  public SampleFormat {
    xShape = List.copyOf(xShape);
    classNames = List.copyOf(classNames);
  }

  /** Samples that the model sees in the shape in which they are stored. */
  public SampleFormat(
      DType xType, List<Integer> xShape, DType yType, int classes, List<String> classNames) {
    this(xType, xShape, yType, classes, classNames, Resizing.NONE);
  }

  /** Shape of one sample as the model sees it. */
  public List<Integer> inputShape() {
    if (resizing.isNone()) {
      return xShape;
    }
    int[] shape = resizing.shape(xShape.get(1), xShape.get(2));
    return List.of(xShape.get(0), shape[0], shape[1]);
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
