package dev.baton.worker.checkpoint;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import dev.baton.worker.trainer.TensorInfo;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * Writes safetensors files (https://huggingface.co/docs/safetensors): the header's length in 8
 * bytes, a JSON header, then the tensors without gaps. Larger element types come first, as the
 * reference serializer has them, so that every tensor lies aligned to its element.
 */
public final class SafetensorsWriter {
  private static final JsonFactory JSON = new JsonFactory();
  private static final int ALIGNMENT = 8;

  private SafetensorsWriter() {}

  /**
   * Writes a file whole or not at all: under a temporary name next to it first.
   *
   * @param data one buffer for each tensor, whose first {@link TensorInfo#bytes} bytes are it,
   *     little-endian; positions are left alone
   */
  public static void write(
      Path file, List<TensorInfo> tensors, List<ByteBuffer> data, Map<String, String> metadata)
      throws IOException {
    List<Integer> order =
        IntStream.range(0, tensors.size())
            .boxed()
            .sorted(Comparator.comparing(i -> -tensors.get(i).dtype().bytes()))
            .toList();
    List<ByteBuffer> parts = new ArrayList<>();
    parts.add(header(order.stream().map(tensors::get).toList(), metadata));
    for (int i : order) {
      parts.add(data.get(i).duplicate().position(0).limit((int) tensors.get(i).bytes()));
    }
    Path unfinished = file.resolveSibling(file.getFileName() + ".part");
    try {
      try (FileChannel out =
          FileChannel.open(
              unfinished,
              StandardOpenOption.CREATE,
              StandardOpenOption.TRUNCATE_EXISTING,
              StandardOpenOption.WRITE)) {
        for (ByteBuffer part : parts) {
          while (part.hasRemaining()) {
            out.write(part);
          }
        }
      }
      Files.move(
          unfinished, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      Files.deleteIfExists(unfinished);
      throw e;
    }
  }

  private static ByteBuffer header(List<TensorInfo> tensors, Map<String, String> metadata)
      throws IOException {
    ByteArrayOutputStream json = new ByteArrayOutputStream();
    try (JsonGenerator out = JSON.createGenerator(json)) {
      out.writeStartObject();
      out.writeObjectFieldStart("__metadata__");
      for (Map.Entry<String, String> entry : metadata.entrySet()) {
        out.writeStringField(entry.getKey(), entry.getValue());
      }
      out.writeEndObject();
      long begin = 0;
      for (TensorInfo tensor : tensors) {
        long end = Math.addExact(begin, tensor.bytes());
        out.writeObjectFieldStart(tensor.name());
        out.writeStringField("dtype", tensor.dtype().safetensorsName());
        out.writeArrayFieldStart("shape");
        for (long dimension : tensor.shape()) {
          out.writeNumber(dimension);
        }
        out.writeEndArray();
        out.writeArrayFieldStart("data_offsets");
        out.writeNumber(begin);
        out.writeNumber(end);
        out.writeEndArray();
        out.writeEndObject();
        begin = end;
      }
      out.writeEndObject();
    }
    while (json.size() % ALIGNMENT != 0) {
      json.write(' ');
    }
    return ByteBuffer.allocate(Long.BYTES + json.size())
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(json.size())
        .put(json.toByteArray())
        .flip();
  }
}
