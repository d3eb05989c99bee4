package dev.baton.worker.trainer.torch;

import dev.baton.worker.trainer.Engine;
import dev.baton.worker.trainer.TensorInfo;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;

/** Copies of engines' states. */
final class States {
  private States() {}

  static List<ByteBuffer> copy(Engine engine) {
    List<ByteBuffer> buffers =
        engine.layout().stream()
            .map(info -> HostBatch.direct(Math.toIntExact(info.bytes())))
            .toList();
    engine.copyStateTo(buffers);
    return buffers;
  }

  /** Of every tensor's bytes, the optimizer's too. */
  static String sha256(Engine engine) {
    MessageDigest digest;
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
    List<TensorInfo> layout = engine.layout();
    List<ByteBuffer> state = copy(engine);
    for (int i = 0; i < layout.size(); i++) {
      digest.update(layout.get(i).name().getBytes(java.nio.charset.StandardCharsets.UTF_8));
      digest.update(state.get(i).duplicate());
    }
    return HexFormat.of().formatHex(digest.digest());
  }
}
