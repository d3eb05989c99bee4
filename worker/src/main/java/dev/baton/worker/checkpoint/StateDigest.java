package dev.baton.worker.checkpoint;

import dev.baton.worker.trainer.TensorInfo;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.IntStream;

/** A job's {@code weights_sha256}. */
public final class StateDigest {
  private StateDigest() {}

  /**
   * SHA-256, in lower-case hexadecimal, over the raw little-endian bytes of every state-dict entry
   * in bytewise name order; buffers as in {@link SafetensorsWriter#write}.
   */
  public static String weightsSha256(List<TensorInfo> layout, List<ByteBuffer> data) {
    MessageDigest digest;
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
    Comparator<byte[]> bytewise = Arrays::compareUnsigned;
    IntStream.range(0, layout.size())
        .filter(i -> layout.get(i).inStateDict())
        .boxed()
        .sorted(
            Comparator.comparing(
                i -> layout.get(i).name().getBytes(StandardCharsets.UTF_8), bytewise))
        .forEach(
            i ->
                digest.update(
                    data.get(i).duplicate().position(0).limit((int) layout.get(i).bytes())));
    return HexFormat.of().formatHex(digest.digest());
  }
}
