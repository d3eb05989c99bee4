package dev.baton.worker.checkpoint;

import dev.baton.worker.trainer.TensorInfo;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.util.List;
import java.util.Optional;

/** Looks for NaN and infinity in a state: both have an exponent of all ones. */
public final class FiniteCheck {
  private static final int CHUNK = 4096;

  private FiniteCheck() {}

  /**
   * The name of the first tensor with a value that is not finite; buffers as in {@link
   * SafetensorsWriter#write}.
   */
  public static Optional<String> firstNotFinite(List<TensorInfo> layout, List<ByteBuffer> data) {
    for (int i = 0; i < layout.size(); i++) {
      TensorInfo tensor = layout.get(i);
      ByteBuffer bytes =
          data.get(i)
              .duplicate()
              .position(0)
              .limit((int) tensor.bytes())
              .order(ByteOrder.nativeOrder());
      boolean finite =
          switch (tensor.dtype()) {
            case FLOAT32 -> allFinite(bytes.asIntBuffer());
            case FLOAT64 -> allFinite(bytes.asLongBuffer());
            case INT64, UINT8 -> true;
          };
      if (!finite) {
        return Optional.of(tensor.name());
      }
    }
    return Optional.empty();
  }

  /**
   * In chunks on the heap, with the exponents carried into the sign and or-ed: a loop that the
   * compiler turns into vector instructions.
   */
  private static boolean allFinite(IntBuffer bits) {
    int[] chunk = new int[CHUNK];
    while (bits.hasRemaining()) {
      int n = Math.min(CHUNK, bits.remaining());
      bits.get(chunk, 0, n);
      int carry = 0;
      for (int i = 0; i < n; i++) {
        carry |= (chunk[i] & 0x7F800000) + 0x00800000;
      }
      if (carry < 0) {
        return false;
      }
    }
    return true;
  }

  private static boolean allFinite(LongBuffer bits) {
    while (bits.hasRemaining()) {
      if ((bits.get() & 0x7FF0000000000000L) == 0x7FF0000000000000L) {
        return false;
      }
    }
    return true;
  }
}
