package dev.baton.worker.checkpoint;

import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.TensorInfo;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.util.List;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/**
 * Writes a state dict as {@code torch.save} does: a stored zip that holds a pickle of protocol 2
 * and one file for each tensor's storage. The pickle names nothing but {@code OrderedDict}, {@code
 * torch._utils._rebuild_tensor_v2} and storage types, so that {@code torch.load(weights_only=True)}
 * takes it.
 */
public final class PthWriter {
  private static final int LOCAL_HEADER_BYTES = 30;

  /** torch aligns storages to this, so that they can be mapped. */
  private static final int ALIGNMENT = 64;

  /** Any fixed time after 1980-01-01, for which Java would add an extra field of its own. */
  private static final LocalDateTime NO_TIME = LocalDateTime.of(2000, 1, 1, 0, 0);

  private PthWriter() {}

  /**
   * Writes the tensors, in their order; buffers as in {@link SafetensorsWriter#write}.
   *
   * @param tensors a state dict
   */
  public static void write(Path file, List<TensorInfo> tensors, List<ByteBuffer> data)
      throws IOException {
    try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(file));
        Archive archive = new Archive(new ZipOutputStream(out))) {
      archive.add("archive/data.pkl", ByteBuffer.wrap(pickle(tensors)));
      archive.add("archive/byteorder", ascii("little"));
      for (int i = 0; i < tensors.size(); i++) {
        archive.add(
            "archive/data/" + i,
            data.get(i).duplicate().position(0).limit((int) tensors.get(i).bytes()));
      }
      archive.add("archive/version", ascii("3\n"));
    }
  }

  private static ByteBuffer ascii(String text) {
    return ByteBuffer.wrap(text.getBytes(StandardCharsets.US_ASCII));
  }

  private static byte[] pickle(List<TensorInfo> tensors) throws IOException {
    Pickle out = new Pickle();
    out.orderedDict();
    out.opcode('(');
    for (int i = 0; i < tensors.size(); i++) {
      TensorInfo tensor = tensors.get(i);
      out.string(tensor.name());
      out.global("torch._utils", "_rebuild_tensor_v2");
      out.opcode('(');
      out.opcode('(');
      out.string("storage");
      out.global("torch", storage(tensor.dtype()));
      out.string(Integer.toString(i));
      out.string("cpu");
      out.integer(tensor.elements());
      out.opcode('t');
      out.opcode('Q'); // BINPERSID
      out.integer(0);
      out.integers(tensor.shape());
      out.integers(contiguousStrides(tensor.shape()));
      out.opcode(0x89); // NEWFALSE: requires_grad
      out.orderedDict(); // backward hooks
      out.opcode('t');
      out.opcode('R');
    }
    out.opcode('u');
    out.opcode('.');
    return out.toByteArray();
  }

  private static String storage(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> "FloatStorage";
      case FLOAT64 -> "DoubleStorage";
      case INT64 -> "LongStorage";
      case UINT8 -> "ByteStorage";
    };
  }

  private static List<Long> contiguousStrides(List<Long> shape) {
    Long[] strides = new Long[shape.size()];
    long stride = 1;
    for (int i = strides.length - 1; i >= 0; i--) {
      strides[i] = stride;
      stride *= Math.max(1, shape.get(i));
    }
    return List.of(strides);
  }

  /** Opcodes of pickle protocol 2 (Python's pickletools documents them). */
  private static final class Pickle {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final DataOutputStream out = new DataOutputStream(bytes);

    Pickle() throws IOException {
      opcode(0x80); // PROTO
      out.writeByte(2);
    }

    void opcode(int code) throws IOException {
      out.writeByte(code);
    }

    void global(String module, String name) throws IOException {
      opcode('c');
      out.writeBytes(module + "\n" + name + "\n");
    }

    void orderedDict() throws IOException {
      global("collections", "OrderedDict");
      opcode(')');
      opcode('R');
    }

    void string(String text) throws IOException {
      byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
      opcode('X'); // BINUNICODE
      out.writeInt(Integer.reverseBytes(utf8.length));
      out.write(utf8);
    }

    void integer(long value) throws IOException {
      if (value == (int) value) {
        opcode('J'); // BININT
        out.writeInt(Integer.reverseBytes((int) value));
      } else {
        opcode(0x8A); // LONG1
        out.writeByte(Long.BYTES);
        out.writeLong(Long.reverseBytes(value));
      }
    }

    void integers(List<Long> values) throws IOException {
      opcode('(');
      for (long value : values) {
        integer(value);
      }
      opcode('t');
    }

    byte[] toByteArray() {
      return bytes.toByteArray();
    }
  }

  /** Stored entries, each one's bytes aligned by an extra field in its local header. */
  private static final class Archive implements AutoCloseable {
    /** What torch writes: the field's id is "FB". */
    private static final int PADDING_ID = 0x4246;

    private static final int EXTRA_HEADER_BYTES = 4;

    private final ZipOutputStream zip;
    private final byte[] chunk = new byte[1 << 16];
    private long offset;

    Archive(ZipOutputStream zip) {
      this.zip = zip;
      zip.setMethod(ZipOutputStream.STORED);
    }

    void add(String name, ByteBuffer content) throws IOException {
      CRC32 crc = new CRC32();
      crc.update(content.duplicate());
      ZipEntry entry = new ZipEntry(name);
      entry.setTimeLocal(NO_TIME);
      entry.setSize(content.remaining());
      entry.setCompressedSize(content.remaining());
      entry.setCrc(crc.getValue());
      long begin = offset + LOCAL_HEADER_BYTES + name.length() + EXTRA_HEADER_BYTES;
      int padding = (int) Math.floorMod(-begin, (long) ALIGNMENT);
      entry.setExtra(
          ByteBuffer.allocate(EXTRA_HEADER_BYTES + padding)
              .order(ByteOrder.LITTLE_ENDIAN)
              .putShort((short) PADDING_ID)
              .putShort((short) padding)
              .array());
      zip.putNextEntry(entry);
      offset = begin + padding + content.remaining();
      while (content.hasRemaining()) {
        int n = Math.min(chunk.length, content.remaining());
        content.get(chunk, 0, n);
        zip.write(chunk, 0, n);
      }
      zip.closeEntry();
    }

    @Override
    public void close() throws IOException {
      zip.close();
    }
  }
}
