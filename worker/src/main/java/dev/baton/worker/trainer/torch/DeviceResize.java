package dev.baton.worker.trainer.torch;

import dev.baton.worker.data.BilinearResize;
import dev.baton.worker.data.SampleFormat;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * {@link BilinearResize} on the device, to the bit: each of its passes is a product with a matrix
 * of fixed-point weights. In float64 all products and sums are integers below 2^53 and thus exact,
 * in whatever order a kernel adds them.
 */
final class DeviceResize implements AutoCloseable {

  /**
   * One resize.
   *
   * @param columns {@code [in, out]}, applied to rows of pixels; null where the width stays
   * @param rows {@code [out, in]}, applied to columns of pixels; null where the height stays
   */
  private record Stage(@Nullable Tensor columns, @Nullable Tensor rows) {}

  private final Owned owned = new Owned();
  private final List<Stage> stages = new ArrayList<>();
  private final Scalar half =
      owned.keep(new Scalar((double) (1L << (BilinearResize.PRECISION_BITS - 1))));
  private final Scalar one = owned.keep(new Scalar((double) (1L << BilinearResize.PRECISION_BITS)));
  private final ScalarOptional black = owned.keep(new ScalarOptional(new Scalar(0.0)));
  private final ScalarOptional white = owned.keep(new ScalarOptional(new Scalar(255.0)));

  DeviceResize(SampleFormat format, Device device) {
    List<int[]> shapes = format.resizing().shapes(format.xShape().get(1), format.xShape().get(2));
    for (int i = 1; i < shapes.size(); i++) {
      int[] from = shapes.get(i - 1);
      int[] to = shapes.get(i);
      Tensor columns = weights(from[1], to[1], device);
      stages.add(
          new Stage(
              columns == null ? null : owned.keep(columns.t().contiguous()),
              weights(from[0], to[0], device)));
    }
  }

  private @Nullable Tensor weights(int in, int out, Device device) {
    return in == out
        ? null
        : owned.keep(
            torch
                .tensor(BilinearResize.matrix(in, out))
                .view(out, in)
                .to(device, ScalarType.Double));
  }

  /** From {@code [n, c, h, w]} uint8 to float32 of whole numbers from 0 to 255. */
  Tensor apply(Tensor pictures) {
    Tensor x = pictures.to(ScalarType.Double);
    for (Stage stage : stages) {
      if (stage.columns != null) {
        x = round(x.matmul(stage.columns));
      }
      if (stage.rows != null) {
        x = round(stage.rows.matmul(x));
      }
    }
    return x.to(ScalarType.Float);
  }

  private Tensor round(Tensor sums) {
    return sums.add_(half).div_(one).floor_().clamp_(black, white);
  }

  @Override
  public void close() {
    owned.close();
  }
}
