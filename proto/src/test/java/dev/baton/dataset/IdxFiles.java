package dev.baton.dataset;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.GZIPOutputStream;

/** Small IDX files, made up: pixel p of picture i is i + p, its label i % 10. */
final class IdxFiles {
  private IdxFiles() {}

  static void write(Path dir, int train, int test, boolean gzip) {
    try {
      Files.createDirectories(dir);
      String end = gzip ? ".gz" : "";
      write(dir.resolve("train-images-idx3-ubyte" + end), images(train, 4, 5), gzip);
      write(dir.resolve("train-labels-idx1-ubyte" + end), labels(train), gzip);
      write(dir.resolve("t10k-images-idx3-ubyte" + end), images(test, 4, 5), gzip);
      write(dir.resolve("t10k-labels-idx1-ubyte" + end), labels(test), gzip);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static byte[] images(int n, int height, int width) {
    ByteBuffer bytes = ByteBuffer.allocate(16 + n * height * width);
    bytes.putInt(0x0803).putInt(n).putInt(height).putInt(width);
    for (int i = 0; i < n; i++) {
      for (int p = 0; p < height * width; p++) {
        bytes.put((byte) (i + p));
      }
    }
    return bytes.array();
  }

  static byte[] labels(int n) {
    ByteBuffer bytes = ByteBuffer.allocate(8 + n);
    bytes.putInt(0x0801).putInt(n);
    for (int i = 0; i < n; i++) {
      bytes.put((byte) (i % 10));
    }
    return bytes.array();
  }

  static void write(Path file, byte[] content, boolean gzip) throws IOException {
    Files.write(file, gzip ? gzip(content) : content);
  }

  static byte[] gzip(byte[] content) throws IOException {
    ByteArrayOutputStream packed = new ByteArrayOutputStream();
    try (GZIPOutputStream out = new GZIPOutputStream(packed)) {
      out.write(content);
    }
    return packed.toByteArray();
  }
}
