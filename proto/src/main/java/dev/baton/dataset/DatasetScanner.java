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
    Dataset.Builder dataset = Dataset.newBuilder().setFormat(wanted);
    Map<String, Path> files;
    switch (wanted) {
      case DATASET_FORMAT_IDX -> {
        files = Idx.files(path);
        scanFixed(dataset, files, stagingDir);
      }
      case DATASET_FORMAT_CIFAR_BINARY -> {
        files = CifarBinary.files(path, stagingDir);
        dataset.addAllClassNames(CifarBinary.classNames(files));
        scanFixed(dataset, files, stagingDir);
      }
      case DATASET_FORMAT_IMAGE_FOLDER -> {
        files = ImageFolder.files(path, stagingDir, listener);
        scanPictures(dataset, files, stagingDir, listener);
      }
      default ->
          throw new DatasetException(
              "data sets of format "
                  + wanted
                  + " are not read; known are "
                  + String.join(", ", DatasetFormats.names()));
    }
    return describe(dataset, files, listener);
  }

  private static DatasetFormat detect(Path path) throws IOException {
    if (Files.isDirectory(path)) {
      if (Idx.folder(path) != null) {
        return DatasetFormat.DATASET_FORMAT_IDX;
      }
      if (CifarBinary.looksLike(path)) {
        return DatasetFormat.DATASET_FORMAT_CIFAR_BINARY;
      }
      if (ImageFolder.looksLike(path)) {
        return DatasetFormat.DATASET_FORMAT_IMAGE_FOLDER;
      }
    } else if (!Tar.firstPath(path).isEmpty()) {
      return CifarBinary.looksLike(path)
          ? DatasetFormat.DATASET_FORMAT_CIFAR_BINARY
          : DatasetFormat.DATASET_FORMAT_IMAGE_FOLDER;
    }
    throw new DatasetException(
        path
            + " is no data set that Baton knows: a folder with train-images-idx3-ubyte (idx), one"
            + " with data_batch_1.bin (cifar-binary), or a folder or tar of"
            + " SPLIT/CLASS/PICTURE.jpg (image-folder)");
  }

  /** Formats whose pictures have one shape and cannot fail to decode. */
  private static void scanFixed(Dataset.Builder dataset, Map<String, Path> files, Path stagingDir)
      throws IOException {
    for (String split : List.of("train", "test")) {
      try (SplitReader reader =
          DatasetReaders.open(dataset.getFormat(), files, split, stagingDir)) {
        dataset.addSplits(split(split, reader, Shape.of(reader.read(0))));
      }
    }
  }

  private static void scanPictures(
      Dataset.Builder dataset, Map<String, Path> files, Path stagingDir, ProgressListener listener)
      throws IOException, InterruptedException {
    try (ImageFolder folder = ImageFolder.open(files, stagingDir)) {
      dataset.addAllClassNames(folder.classNames());
      long total = 0;
      for (String split : folder.splits()) {
        total += folder.reader(split).size();
      }
      long done = 0;
      int channels = 1;
      for (String split : folder.splits()) {
        SplitReader reader = folder.reader(split);
        Shape shape = new PictureCheck(reader, listener, done, total).run();
        done += reader.size();
        channels = Math.max(channels, shape.channels());
        dataset.addSplits(split(split, reader, shape));
      }
      // Gray pictures among coloured ones are read as coloured, in whichever split.
      for (DatasetSplit.Builder split : dataset.getSplitsBuilderList()) {
        split.setShape(0, channels);
      }
    }
  }

  private static DatasetSplit split(String name, SplitReader reader, Shape shape) {
    int classes = 0;
    for (int i = 0; i < reader.size(); i++) {
      classes = Math.max(classes, reader.label(i) + 1);
    }
    return DatasetSplit.newBuilder()
        .setName(name)
        .setSamples(reader.size())
        .addAllShape(List.of(shape.channels(), shape.height(), shape.width()))
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
