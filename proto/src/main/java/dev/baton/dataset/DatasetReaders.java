package dev.baton.dataset;

import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import dev.baton.v1.DatasetFormat;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

/** Opens the splits of a data set, whatever its format. */
public final class DatasetReaders {
  /** The most samples that a split may have. */
  public static final int MAX_SAMPLES = 1 << 26;

  private DatasetReaders() {}

  /**
   * Opens a split of a data set whose files lie in a folder under their paths.
   *
   * @param tempDir for what must be gunzipped; nothing stays there
   * @throws DatasetException where the files are not what the format wants
   */
  public static SplitReader open(Dataset dataset, Path dir, String split, Path tempDir)
      throws IOException {
    Map<String, Path> files = new TreeMap<>(DatasetDigests.BY_PATH);
    for (DatasetFile file : dataset.getFilesList()) {
      files.put(file.getPath(), dir.resolve(file.getPath()));
    }
    return open(dataset.getFormat(), files, split, tempDir);
  }

  static SplitReader open(DatasetFormat format, Map<String, Path> files, String split, Path tempDir)
      throws IOException {
    return switch (format) {
      case DATASET_FORMAT_IDX -> Idx.open(files, split, tempDir);
      case DATASET_FORMAT_CIFAR_BINARY -> CifarBinary.open(files, split);
      case DATASET_FORMAT_IMAGE_FOLDER -> ImageFolder.open(files, split, tempDir);
      default -> throw new DatasetException("unknown data set format " + format);
    };
  }
}
