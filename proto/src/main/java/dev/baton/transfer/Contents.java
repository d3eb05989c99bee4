package dev.baton.transfer;

import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadPart;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.zip.CRC32C;

/** Describes files as the contract wants it. */
public final class Contents {
  /** What one part holds at most, but for objects of more than 10,000 such parts. */
  public static final long PART_BYTES = 64L << 20;

  // S3's own limit.
  private static final int MAX_PARTS = 10_000;
  private static final int BUFFER_BYTES = 1 << 20;

  private Contents() {}

  /** Size, SHA-256 and CRC-32C of each part, in one pass over the file. */
  public static UploadContent describe(Path file) throws IOException {
    return describe(file, PART_BYTES);
  }

  /** As {@link #describe(Path)}, with parts of another size. */
  public static UploadContent describe(Path file, long partBytes) throws IOException {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      long bytes = channel.size();
      long part = Math.max(partBytes, (bytes + MAX_PARTS - 1) / MAX_PARTS);
      UploadContent.Builder content = UploadContent.newBuilder().setBytes(bytes);
      MessageDigest sha256 = sha256();
      ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);
      long done = 0;
      // An empty file has one empty part.
      do {
        long left = Math.min(part, bytes - done);
        CRC32C crc = new CRC32C();
        content.addParts(UploadPart.newBuilder().setBytes(left));
        while (left > 0) {
          buffer.clear().limit((int) Math.min(buffer.capacity(), left));
          int read = channel.read(buffer);
          if (read < 0) {
            throw new IOException(file + " became shorter while it was read");
          }
          sha256.update(buffer.flip());
          crc.update(buffer.rewind());
          left -= read;
          done += read;
        }
        content.getPartsBuilder(content.getPartsCount() - 1).setCrc32C((int) crc.getValue());
      } while (done < bytes);
      return content.setSha256(HexFormat.of().formatHex(sha256.digest())).build();
    }
  }

  /** A digest that every Java has. */
  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
  }
}
