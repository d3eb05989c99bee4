package dev.baton.coordinator.objectstore;

import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadPart;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.Base64;
import java.util.zip.CRC32C;

/** CRC-32C as S3 writes it. */
final class Checksums {
  static final String HEADER = "x-amz-checksum-crc32c";

  private static final int BUFFER_BYTES = 1 << 18;

  private Checksums() {}

  /** Of one part: base64 of its four bytes, the highest first. */
  static String of(UploadPart part) {
    return base64(part.getCrc32C());
  }

  /**
   * Of a whole object: that of its only part, or, for a multipart upload, the checksum of its
   * parts' checksums and their number (S3's "composite").
   */
  static String of(UploadContent content) {
    if (content.getPartsCount() == 1) {
      return of(content.getParts(0));
    }
    CRC32C crc = new CRC32C();
    for (UploadPart part : content.getPartsList()) {
      crc.update(ByteBuffer.allocate(4).putInt(part.getCrc32C()).flip());
    }
    return base64((int) crc.getValue()) + "-" + content.getPartsCount();
  }

  /** Whether a stream holds just these parts. */
  static boolean match(UploadContent content, InputStream bytes) throws IOException {
    byte[] buffer = new byte[BUFFER_BYTES];
    for (UploadPart part : content.getPartsList()) {
      CRC32C crc = new CRC32C();
      long left = part.getBytes();
      while (left > 0) {
        int read = bytes.read(buffer, 0, (int) Math.min(buffer.length, left));
        if (read < 0) {
          return false;
        }
        crc.update(buffer, 0, read);
        left -= read;
      }
      if ((int) crc.getValue() != part.getCrc32C()) {
        return false;
      }
    }
    return bytes.read() < 0;
  }

  private static String base64(int crc) {
    return Base64.getEncoder().encodeToString(ByteBuffer.allocate(4).putInt(crc).array());
  }
}
