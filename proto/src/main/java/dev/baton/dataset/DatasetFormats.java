package dev.baton.dataset;

import dev.baton.v1.DatasetFormat;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** The names of the formats, as the command line and the digest write them. */
public final class DatasetFormats {
  private static final String PREFIX = "DATASET_FORMAT_";

  private DatasetFormats() {}

  /** {@code idx}, {@code cifar-binary}, {@code image-folder}. */
  public static String name(DatasetFormat format) {
    return format.name().substring(PREFIX.length()).toLowerCase(Locale.ROOT).replace('_', '-');
  }

  /** Every format's name. */
  public static List<String> names() {
    return Arrays.stream(DatasetFormat.values())
        .filter(
            f -> f != DatasetFormat.DATASET_FORMAT_UNSPECIFIED && f != DatasetFormat.UNRECOGNIZED)
        .map(DatasetFormats::name)
        .toList();
  }

  /**
   * The format of that name.
   *
   * @throws DatasetException where there is none
   */
  public static DatasetFormat parse(String name) {
    for (DatasetFormat format : DatasetFormat.values()) {
      if (format != DatasetFormat.DATASET_FORMAT_UNSPECIFIED
          && format != DatasetFormat.UNRECOGNIZED
          && name(format).equals(name)) {
        return format;
      }
    }
    throw new DatasetException(
        "unknown data set format " + name + "; known are " + String.join(", ", names()));
  }
}
