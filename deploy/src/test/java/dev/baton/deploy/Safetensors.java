package dev.baton.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.TreeMap;

/**
 * A safetensors file (https://huggingface.co/docs/safetensors), read here once more and
 * independently of the product, to hold what it wrote against what it said.
 */
final class Safetensors {
  private final TreeMap<String, byte[]> tensors = new TreeMap<>();

  private Safetensors() {}

  static Safetensors read(Path file) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int header = Math.toIntExact(buffer.getLong());
    JsonNode json = LocalCluster.JSON.readTree(bytes, 8, header);
    Safetensors result = new Safetensors();
    json.properties()
        .forEach(
            field -> {
              if (!field.getKey().equals("__metadata__")) {
                JsonNode offsets = field.getValue().get("data_offsets");
                result.tensors.put(
                    field.getKey(),
                    Arrays.copyOfRange(
                        bytes,
                        8 + header + offsets.get(0).asInt(),
                        8 + header + offsets.get(1).asInt()));
              }
            });
    return result;
  }

  float[] floats(String name) {
    ByteBuffer buffer = ByteBuffer.wrap(tensors.get(name)).order(ByteOrder.LITTLE_ENDIAN);
    float[] values = new float[buffer.remaining() / 4];
    buffer.asFloatBuffer().get(values);
    return values;
  }

  /** SHA-256 over every tensor's bytes, in bytewise name order (names here are ASCII). */
  String sha256() {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      tensors.values().forEach(digest::update);
      return HexFormat.of().formatHex(digest.digest());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
