package dev.baton.worker.trainer.torch;

import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.TensorInfo;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.LongArrayRef;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * A named tensor of the state, on the device, owned by the model or the optimizer it belongs to. It
 * is written in place and never replaced.
 */
record StateTensor(String name, Tensor tensor, TensorInfo.Role role) {

  boolean isParameter() {
    return role == TensorInfo.Role.PARAMETER;
  }

  boolean isBuffer() {
    return role == TensorInfo.Role.BUFFER;
  }

  TensorInfo info() {
    return new TensorInfo(name, dtype(), shapeOf(tensor), role);
  }

  DType dtype() {
    return dtype(tensor.scalar_type());
  }

  static List<Long> shapeOf(Tensor tensor) {
    LongArrayRef sizes = tensor.sizes();
    List<Long> shape = new ArrayList<>();
    for (long i = 0; i < sizes.size(); i++) {
      shape.add(sizes.get(i));
    }
    return shape;
  }

  private static DType dtype(ScalarType type) {
    return switch (type.intern()) {
      case Float -> DType.FLOAT32;
      case Double -> DType.FLOAT64;
      case Long -> DType.INT64;
      case Byte -> DType.UINT8;
      default ->
          throw new IllegalArgumentException(
              "state of type " + type + " has no place in a checkpoint");
    };
  }

  static ScalarType scalarType(DType type) {
    return switch (type) {
      case FLOAT32 -> ScalarType.Float;
      case FLOAT64 -> ScalarType.Double;
      case INT64 -> ScalarType.Long;
      case UINT8 -> ScalarType.Byte;
    };
  }
}
