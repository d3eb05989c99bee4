package dev.baton.dataset;

import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;

/** What addresses a data set. */
public final class DatasetDigests {
  /** Bytewise by path. */
  static final Comparator<String> BY_PATH =
      (a, b) ->
          Arrays.compareUnsigned(
              a.getBytes(StandardCharsets.UTF_8), b.getBytes(StandardCharsets.UTF_8));

  private DatasetDigests() {}

  /**
   * Lower-case hexadecimal SHA-256 of a line with the format's name and then, by path, a line
   * {@code sha256 size path} for each file.
   */
  public static String digest(Dataset dataset) {
    MessageDigest sha256 = sha256();
    sha256.update(line(DatasetFormats.name(dataset.getFormat())));
    dataset.getFilesList().stream()
        .sorted(Comparator.comparing(DatasetFile::getPath, BY_PATH))
        .forEach(f -> sha256.update(line(f.getSha256() + " " + f.getBytes() + " " + f.getPath())));
    return HexFormat.of().formatHex(sha256.digest());
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
  }

  private static byte[] line(String text) {
    return (text + "\n").getBytes(StandardCharsets.UTF_8);
  }
}
