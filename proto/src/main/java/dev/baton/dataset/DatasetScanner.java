package dev.baton.dataset;

import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import dev.baton.v1.DatasetFormat;
import dev.baton.v1.DatasetSplit;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Reads a data set whole before it is pushed, so that a bad one is refused where it lies. */
public final class DatasetScanner {
  private DatasetScanner() {}

  /**
   * Finds a data set's files, reads every sample, and describes it.
   *
   * @param path a folder or a file
   * @param format null: told by what lies there
   * @param stagingDir for files that must be made first (a folder of pictures as one tar); the
   *     caller deletes it when the files have been pushed
   * @throws DatasetException where it is not what the format wants
   */
  public static ScannedDataset scan(
      Path path, @Nullable DatasetFormat format, Path stagingDir, ProgressListener listener)
      throws IOException, InterruptedException {
    if (!Files.exists(path)) {
      throw new DatasetException(path + " does not exist");
    }
    DatasetFormat wanted =
        format == null || format == DatasetFormat.DATASET_FORMAT_UNSPECIFIED
            ? detect(path)
            : format;
    return switch (wanted) {
      case DATASET_FORMAT_IDX -> scanIdx(path, stagingDir, listener);
      default ->
          throw new DatasetException(
              "data sets of format "
                  + wanted
                  + " are not read; known are "
                  + String.join(", ", DatasetFormats.names()));
    };
  }

  private static DatasetFormat detect(Path path) {
    if (Idx.folder(path) != null) {
      return DatasetFormat.DATASET_FORMAT_IDX;
    }
    throw new DatasetException(
        "cannot tell the format of "
            + path
            + "; say it with --format, one of "
            + String.join(", ", DatasetFormats.names()));
  }

  private static ScannedDataset scanIdx(Path path, Path stagingDir, ProgressListener listener)
      throws IOException {
    Map<String, Path> files = Idx.files(path);
    Dataset.Builder dataset = Dataset.newBuilder().setFormat(DatasetFormat.DATASET_FORMAT_IDX);
    for (Idx.Split split : Idx.Split.values()) {
      try (SplitReader reader = Idx.open(files, split.split, stagingDir)) {
        Picture first = reader.read(0);
        dataset.addSplits(
            split(split.split, reader, first.channels(), first.height(), first.width()));
      }
    }
    return describe(dataset, files, listener);
  }

  private static DatasetSplit split(
      String name, SplitReader reader, int channels, int height, int width) {
    int classes = 0;
    for (int i = 0; i < reader.size(); i++) {
      classes = Math.max(classes, reader.label(i) + 1);
    }
    return DatasetSplit.newBuilder()
        .setName(name)
        .setSamples(reader.size())
        .addAllShape(List.of(channels, height, width))
        .setClasses(classes)
        .build();
  }

  /** Adds the files with their digests. */
  private static ScannedDataset describe(
      Dataset.Builder dataset, Map<String, Path> files, ProgressListener listener)
      throws IOException {
    long total = 0;
    for (Path file : files.values()) {
      total += Files.size(file);
    }
    long done = 0;
    byte[] chunk = new byte[1 << 18];
    for (Map.Entry<String, Path> file : files.entrySet()) {
      MessageDigest sha256 = DatasetDigests.sha256();
      long size = 0;
      try (InputStream in = Files.newInputStream(file.getValue())) {
        for (int n; (n = in.read(chunk)) >= 0; ) {
          sha256.update(chunk, 0, n);
          size += n;
          listener.onProgress("hashing bytes", done + size, total);
        }
      }
      done += size;
      dataset.addFiles(
          DatasetFile.newBuilder()
              .setPath(file.getKey())
              .setBytes(size)
              .setSha256(HexFormat.of().formatHex(sha256.digest())));
    }
    return new ScannedDataset(dataset.build(), List.copyOf(files.values()));
  }
}
