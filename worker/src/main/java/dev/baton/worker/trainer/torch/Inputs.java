package dev.baton.worker.trainer.torch;

import dev.baton.v1.Normalize;
import dev.baton.v1.Transform;
import dev.baton.worker.data.Batch;
import dev.baton.worker.data.SampleFormat;
import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.TrainingException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.MemoryFormat;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Makes tensors of a batch's bytes, on the device: pictures become float32 in [0, 1] and are
 * normalised, features stay as they are. On a CPU the bytes are used where they lie.
 */
final class Inputs implements AutoCloseable {

  private record Normalisation(Tensor mean, Tensor std) {}

  private final SampleFormat format;
  private final int classes;
  private final Device device;
  private final boolean channelsLast;
  private final Owned owned = new Owned();
  private final List<Normalisation> normalisations = new ArrayList<>();
  private final TensorOptions xOptions;
  private final TensorOptions yOptions;
  private final Scalar white = owned.keep(new Scalar(255.0));

  /**
   * @param classes that the model tells apart; 0 for a regression
   */
  Inputs(
      SampleFormat format,
      int classes,
      List<Transform> transforms,
      boolean channelsLast,
      Device device) {
    this.format = format;
    this.classes = classes;
    this.device = device;
    this.channelsLast = channelsLast && device.is_cpu() && format.xShape().size() == 3;
    this.xOptions = owned.keep(new TensorOptions(StateTensor.scalarType(format.xType())));
    this.yOptions = owned.keep(new TensorOptions(StateTensor.scalarType(format.yType())));
    if (format.xType() == DType.UINT8) {
      for (Transform transform : transforms) {
        if (transform.hasNormalize()) {
          normalisations.add(normalisation(transform.getNormalize()));
        }
      }
    }
  }

  private Normalisation normalisation(Normalize spec) {
    return new Normalisation(
        perChannel("mean", spec.getMeanList()), perChannel("std", spec.getStdList()));
  }

  private Tensor perChannel(String field, List<Double> values) {
    int channels = format.xShape().get(0);
    if (values.size() != 1 && values.size() != channels) {
      throw TrainingException.userError(
          "data.transforms normalize."
              + field
              + " has "
              + values.size()
              + " values, but the pictures have "
              + channels
              + (channels == 1 ? " channel" : " channels"));
    }
    float[] floats = new float[values.size()];
    for (int i = 0; i < floats.length; i++) {
      floats[i] = values.get(i).floatValue();
    }
    return owned.keep(torch.tensor(floats).view(floats.length, 1, 1).to(device, ScalarType.Float));
  }

  /** All of a batch's x as {@code [samples, *shape]}, float32. Valid while the batch is. */
  Tensor x(Batch batch) {
    Tensor x = onDevice(blob(batch.x(), xSizes(batch.samples()), xOptions));
    if (channelsLast) {
      x = toChannelsLast(x);
    }
    if (format.xType() != DType.UINT8) {
      return x;
    }
    x = x.div(white);
    for (Normalisation normalisation : normalisations) {
      x = x.sub_(normalisation.mean).div_(normalisation.std);
    }
    return x;
  }

  /**
   * All of a batch's y. Valid while the batch is.
   *
   * @throws TrainingException for a label that is none of the model's classes
   */
  Tensor y(Batch batch) {
    if (format.yType() == DType.INT64) {
      checkLabels(batch);
      return onDevice(blob(batch.y(), new long[] {batch.samples()}, yOptions));
    }
    return onDevice(blob(batch.y(), new long[] {batch.samples(), 1}, yOptions));
  }

  private void checkLabels(Batch batch) {
    ByteBuffer labels = batch.y().duplicate().order(ByteOrder.nativeOrder());
    for (int i = 0; i < batch.samples(); i++) {
      long label = labels.getLong(i * Long.BYTES);
      if (label < 0 || label >= classes) {
        throw TrainingException.userError(
            "label "
                + label
                + " is none of the model's "
                + classes
                + " classes (0 to "
                + (classes - 1)
                + "): set model.builtin.num_classes to "
                + (label + 1)
                + " or more, or correct the data");
      }
    }
  }

  private long[] xSizes(int samples) {
    List<Integer> shape = format.xShape();
    long[] sizes = new long[shape.size() + 1];
    sizes[0] = samples;
    for (int i = 0; i < shape.size(); i++) {
      sizes[i + 1] = shape.get(i);
    }
    return sizes;
  }

  private Tensor toChannelsLast(Tensor x) {
    if (format.xShape().get(0) > 1) {
      return x.contiguous(MemoryFormat.ChannelsLast);
    }
    // With one channel both orders are the same bytes; the strides tell libtorch which one is
    // meant.
    long height = format.xShape().get(1);
    long width = format.xShape().get(2);
    return x.as_strided(x.shape(), height * width, 1, width, 1);
  }

  private Tensor onDevice(Tensor host) {
    return device.is_cpu() ? host : host.to(device, host.scalar_type());
  }

  /** A tensor over a direct buffer's memory. */
  static Tensor blob(ByteBuffer buffer, long[] sizes, TensorOptions options) {
    if (!buffer.isDirect()) {
      throw new IllegalArgumentException("the buffer is not direct");
    }
    return torch.from_blob(new Pointer(buffer.slice()), sizes, options);
  }

  @Override
  public void close() {
    owned.close();
  }
}
