package dev.baton.worker.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.TensorInfo;
import dev.baton.worker.trainer.TensorInfo.Role;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.Test;

final class StateDigestTest {
  private static final List<TensorInfo> LAYOUT =
      List.of(
          new TensorInfo("b", DType.UINT8, List.of(2L), Role.BUFFER),
          new TensorInfo("é", DType.UINT8, List.of(1L), Role.BUFFER),
          new TensorInfo("a.10", DType.FLOAT32, List.of(1L), Role.PARAMETER),
          new TensorInfo("a.9", DType.UINT8, List.of(1L), Role.BUFFER),
          new TensorInfo("optimizer/x/b", DType.UINT8, List.of(1L), Role.OPTIMIZER));

  @Test
  void hashesTheStateDictInBytewiseNameOrder() throws Exception {
    List<ByteBuffer> data =
        List.of(
            bytes(1, 2),
            bytes(3),
            ByteBuffer.allocateDirect(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(0, 1.5f),
            bytes(4),
            bytes(9));
    // a.10 (00 00 c0 3f), a.9, b, é; nothing of the optimizer's
    byte[] expected = {0, 0, (byte) 0xc0, 0x3f, 4, 1, 2, 3};
    assertThat(StateDigest.weightsSha256(LAYOUT, data))
        .isEqualTo(HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(expected)));
  }

  @Test
  void findsWhatIsNotFinite() {
    List<TensorInfo> layout =
        List.of(
            new TensorInfo("ints", DType.INT64, List.of(1L), Role.BUFFER),
            new TensorInfo("floats", DType.FLOAT32, List.of(10_000L), Role.PARAMETER),
            new TensorInfo("doubles", DType.FLOAT64, List.of(3L), Role.OPTIMIZER));
    ByteBuffer ints = ByteBuffer.allocateDirect(8).order(ByteOrder.nativeOrder()).putLong(0, -1);
    ByteBuffer floats = ByteBuffer.allocateDirect(40_000).order(ByteOrder.nativeOrder());
    ByteBuffer doubles = ByteBuffer.allocateDirect(24).order(ByteOrder.nativeOrder());
    List<ByteBuffer> data = List.of(ints, floats, doubles);
    floats.putFloat(0, -Float.MAX_VALUE).putFloat(4, -0.0f).putFloat(8, Float.MIN_VALUE);
    doubles.putDouble(0, -Double.MAX_VALUE).putDouble(8, Double.MAX_VALUE);
    assertThat(FiniteCheck.firstNotFinite(layout, data)).isEmpty();
    doubles.putDouble(16, Double.NaN);
    assertThat(FiniteCheck.firstNotFinite(layout, data)).contains("doubles");
    for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
      floats.putFloat(39_996, bad);
      assertThat(FiniteCheck.firstNotFinite(layout, data)).contains("floats");
    }
  }

  private static ByteBuffer bytes(int... values) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(values.length);
    for (int value : values) {
      buffer.put((byte) value);
    }
    return buffer;
  }
}
