package dev.baton.worker.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import dev.baton.worker.trainer.DType;
import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Reads safetensors files and believes nothing in them: every length is held against the file's own
 * before it is used, and the tensors must cover the file without gaps or overlaps. Whatever is
 * wrong is a {@link CheckpointException}.
 */
public final class SafetensorsReader implements Closeable {
  /** The reference implementation allows 100 MB; ours stay far below this. */
  private static final int MAX_HEADER_BYTES = 16 << 20;

  private static final JsonMapper JSON =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  /** A tensor in the file; its bytes lie at [begin, end) of the file. */
  public record Entry(DType dtype, List<Long> shape, long begin, long end) {
    public Entry {
      shape = List.copyOf(shape);
    }
  }

  private final Path file;
  private final FileChannel channel;
  private final Map<String, String> metadata = new LinkedHashMap<>();
  private final Map<String, Entry> tensors = new LinkedHashMap<>();

  private SafetensorsReader(Path file, FileChannel channel) {
    this.file = file;
    this.channel = channel;
  }

  /**
   * Opens a file and reads its header.
   *
   * @throws CheckpointException where the file is no whole safetensors file
   */
  public static SafetensorsReader open(Path file) throws IOException {
    FileChannel channel = FileChannel.open(file, StandardOpenOption.READ);
    try {
      SafetensorsReader reader = new SafetensorsReader(file, channel);
      reader.readHeader();
      return reader;
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  /** The header's {@code __metadata__}. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** By name, in the header's order. */
  public Map<String, Entry> tensors() {
    return tensors;
  }

  /** Copies a tensor behind the target's position. */
  public void read(String name, ByteBuffer target) throws IOException {
    Entry entry = tensors.get(name);
    if (entry == null) {
      throw damaged("it has no tensor '" + name + "'");
    }
    if (target.remaining() < entry.end() - entry.begin()) {
      throw new IllegalArgumentException(
          name + ": " + (entry.end() - entry.begin()) + " bytes into " + target.remaining());
    }
    ByteBuffer part = target.duplicate();
    part.limit(target.position() + (int) (entry.end() - entry.begin()));
    readFully(part, entry.begin());
    target.position(part.position());
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }

  private void readHeader() throws IOException {
    long size = channel.size();
    if (size < Long.BYTES) {
      throw damaged("it has " + size + " bytes, too few for a header");
    }
    ByteBuffer length = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    readFully(length, 0);
    long headerBytes = length.getLong(0);
    if (headerBytes < 2 || headerBytes > size - Long.BYTES || headerBytes > MAX_HEADER_BYTES) {
      throw damaged(
          "its header claims %d bytes of a file of %d (at most %d)"
              .formatted(headerBytes, size, MAX_HEADER_BYTES));
    }
    ByteBuffer header = ByteBuffer.allocate((int) headerBytes);
    readFully(header, Long.BYTES);
    JsonNode root;
    try {
      root = JSON.readTree(header.array());
    } catch (JsonProcessingException e) {
      throw new CheckpointException(
          file + " is damaged: its header is no JSON: " + e.getOriginalMessage(), e);
    } catch (IOException e) {
      throw new CheckpointException(
          file + " is damaged: its header is no JSON: " + e.getMessage(), e);
    }
    if (root == null || !root.isObject()) {
      throw damaged("its header is no JSON object");
    }
    long base = Long.BYTES + headerBytes;
    for (Map.Entry<String, JsonNode> field : root.properties()) {
      if (field.getKey().equals("__metadata__")) {
        readMetadata(field.getValue());
      } else {
        tensors.put(field.getKey(), entry(field.getKey(), field.getValue(), base, size - base));
      }
    }
    checkCoverage(base, size);
  }

  private void readMetadata(JsonNode node) throws CheckpointException {
    if (!node.isObject()) {
      throw damaged("its __metadata__ is no JSON object");
    }
    for (Map.Entry<String, JsonNode> field : node.properties()) {
      if (!field.getValue().isTextual()) {
        throw damaged("its __metadata__ '" + field.getKey() + "' is no string");
      }
      metadata.put(field.getKey(), field.getValue().textValue());
    }
  }

  private Entry entry(String name, JsonNode node, long base, long dataBytes)
      throws CheckpointException {
    String dtypeName = node.path("dtype").asText();
    DType dtype =
        Stream.of(DType.values())
            .filter(d -> d.safetensorsName().equals(dtypeName))
            .findFirst()
            .orElse(null);
    if (dtype == null) {
      throw damaged("tensor '" + name + "' has dtype '" + dtypeName + "', which is not known");
    }
    List<Long> shape = longs(node.path("shape"));
    List<Long> offsets = longs(node.path("data_offsets"));
    if (shape == null || offsets == null || offsets.size() != 2) {
      throw damaged("tensor '" + name + "' lacks a whole shape or data_offsets");
    }
    long begin = offsets.get(0);
    long end = offsets.get(1);
    if (begin > end || end > dataBytes || end - begin > Integer.MAX_VALUE) {
      throw damaged(
          "tensor '%s' claims bytes %d to %d of %d".formatted(name, begin, end, dataBytes));
    }
    long bytes = dtype.bytes();
    try {
      for (long dimension : shape) {
        bytes = Math.multiplyExact(bytes, dimension);
      }
    } catch (ArithmeticException e) {
      bytes = -1;
    }
    if (bytes != end - begin) {
      throw damaged(
          "tensor '%s' of dtype %s and shape %s lies in %d bytes"
              .formatted(name, dtypeName, shape, end - begin));
    }
    return new Entry(dtype, shape, base + begin, base + end);
  }

  private static @Nullable List<Long> longs(JsonNode node) {
    if (!node.isArray()) {
      return null;
    }
    List<Long> values = new ArrayList<>();
    for (JsonNode value : node) {
      if (!value.isIntegralNumber() || !value.canConvertToLong() || value.longValue() < 0) {
        return null;
      }
      values.add(value.longValue());
    }
    return values;
  }

  private void checkCoverage(long base, long size) throws CheckpointException {
    long covered = base;
    for (Entry entry :
        tensors.values().stream().sorted(Comparator.comparingLong(Entry::begin)).toList()) {
      // Empty tensors may lie anywhere between two others.
      if (entry.begin() != covered && entry.begin() != entry.end()) {
        throw damaged("its tensors overlap or leave a gap at byte " + covered);
      }
      covered = Math.max(covered, entry.end());
    }
    if (covered != size) {
      throw damaged("its tensors end at byte " + covered + " of " + size);
    }
  }

  private void readFully(ByteBuffer target, long position) throws IOException {
    long at = position;
    while (target.hasRemaining()) {
      int read = channel.read(target, at);
      if (read < 0) {
        throw damaged("it ends at byte " + at);
      }
      at += read;
    }
  }

  private CheckpointException damaged(String what) {
    return new CheckpointException(file + " is damaged: " + what);
  }
}
