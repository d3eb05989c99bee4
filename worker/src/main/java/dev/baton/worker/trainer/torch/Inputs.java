package dev.baton.worker.trainer.torch;

import dev.baton.v1.Normalize;
import dev.baton.v1.Transform;
import dev.baton.worker.data.Batch;
import dev.baton.worker.data.SampleFormat;
import dev.baton.worker.data.SampleSource;
import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.Engine.Use;
import dev.baton.worker.trainer.TrainingException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.MemoryFormat;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * Makes tensors of a batch's samples, on the device: pictures are resized where the data did not do
 * it, become float32 in [0, 1] and are normalised; features stay as they are. The samples come from
 * a source that the device holds, or from the batch's bytes, which a CPU uses where they lie.
 */
final class Inputs implements AutoCloseable {

  /** A source may take one part in so many of the free memory: the model needs the rest. */
  private static final int SHARE_OF_FREE = 10;

  private record Normalisation(Tensor mean, Tensor std) {}

  private final SampleFormat format;
  private final int classes;
  private final Device device;
  private final boolean channelsLast;
  private final LongSupplier freeBytes;
  private final @Nullable DeviceResize resize;
  private final @Nullable PinnedUpload upload;
  private final Map<Use, HeldSamples> held = new EnumMap<>(Use.class);
  private final Owned owned = new Owned();
  private final List<Normalisation> normalisations = new ArrayList<>();
  private final Scalar white = owned.keep(new Scalar(255.0));

  /**
   * @param classes that the model tells apart; 0 for a regression
   * @param freeBytes of the device's memory; 0 where it shall hold no samples
   */
  Inputs(
      SampleFormat format,
      int classes,
      List<Transform> transforms,
      boolean channelsLast,
      Device device,
      LongSupplier freeBytes) {
    this.format = format;
    this.classes = classes;
    this.device = device;
    this.channelsLast = channelsLast && device.is_cpu() && format.xShape().size() == 3;
    this.freeBytes = freeBytes;
    this.resize = format.resizing().isNone() ? null : new DeviceResize(format, device);
    this.upload = device.is_cuda() ? new PinnedUpload(device) : null;
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

  /** As {@link dev.baton.worker.trainer.Engine#hold}. */
  boolean hold(Use use, SampleSource source) {
    HeldSamples now = held.get(use);
    if (now != null && now.isOf(source)) {
      return true;
    }
    if (now != null || HeldSamples.bytes(source) > freeBytes.getAsLong() / SHARE_OF_FREE) {
      return false;
    }
    HeldSamples samples = HeldSamples.of(source, classes, device);
    if (samples == null) {
      return false;
    }
    held.put(use, samples);
    return true;
  }

  private HeldSamples held(Use use) {
    HeldSamples samples = held.get(use);
    if (samples == null) {
      throw new IllegalStateException("a batch by index of samples that the device does not hold");
    }
    return samples;
  }

  /** All of a batch's x as {@code [samples, *inputShape]}, float32. Valid while the batch is. */
  Tensor x(Use use, Batch batch) {
    Tensor x =
        batch.byIndex()
            ? held(use).x(batch)
            : onDevice(
                blob(batch.x(), sizes(batch.samples(), format.xShape()), options(format.xType())));
    if (resize != null) {
      x = resize.apply(x);
    }
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
  Tensor y(Use use, Batch batch) {
    if (batch.byIndex()) {
      return held(use).y(batch);
    }
    if (format.yType() == DType.INT64) {
      checkLabels(batch);
    }
    return onDevice(blob(batch.y(), targetSizes(batch.samples(), format), options(format.yType())));
  }

  private void checkLabels(Batch batch) {
    int wrong = wrongLabel(batch.y(), batch.samples(), classes);
    if (wrong >= 0) {
      long label = batch.y().duplicate().order(ByteOrder.nativeOrder()).getLong(wrong * Long.BYTES);
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

  /** The first of a buffer's labels that is no class; -1 where all are. */
  static int wrongLabel(ByteBuffer y, int samples, int classes) {
    ByteBuffer labels = y.duplicate().order(ByteOrder.nativeOrder());
    for (int i = 0; i < samples; i++) {
      long label = labels.getLong(i * Long.BYTES);
      if (label < 0 || label >= classes) {
        return i;
      }
    }
    return -1;
  }

  /** [samples] for class indices, [samples, 1] for numbers. */
  static long[] targetSizes(long samples, SampleFormat format) {
    return format.yType() == DType.INT64 ? new long[] {samples} : new long[] {samples, 1};
  }

  /** [samples, *shape]. */
  static long[] sizes(long samples, List<Integer> shape) {
    long[] sizes = new long[shape.size() + 1];
    sizes[0] = samples;
    for (int i = 0; i < shape.size(); i++) {
      sizes[i + 1] = shape.get(i);
    }
    return sizes;
  }

  private Tensor toChannelsLast(Tensor x) {
    List<Integer> shape = format.inputShape();
    if (shape.get(0) > 1) {
      return x.contiguous(MemoryFormat.ChannelsLast);
    }
    // With one channel both orders are the same bytes; the strides tell libtorch which one is
    // meant.
    long height = shape.get(1);
    long width = shape.get(2);
    return x.as_strided(x.shape(), height * width, 1, width, 1);
  }

  private Tensor onDevice(Tensor host) {
    return upload == null ? host : upload.upload(host);
  }

  /** Of a tensor on the host, in the scope that is open. */
  static TensorOptions options(DType type) {
    return new TensorOptions(StateTensor.scalarType(type));
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
    held.values().forEach(HeldSamples::close);
    if (upload != null) {
      upload.close();
    }
    if (resize != null) {
      resize.close();
    }
    owned.close();
  }
}
