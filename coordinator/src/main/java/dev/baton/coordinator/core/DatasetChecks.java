package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.invalid;

import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import dev.baton.v1.DatasetFormat;
import dev.baton.v1.DatasetSplit;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import java.util.regex.Pattern;

/** Checks what a client says of a data set to be. */
final class DatasetChecks {
  private static final Pattern NAME = Pattern.compile("[a-z0-9._-]{1,63}");
  private static final Pattern SHA256 = Pattern.compile("[0-9a-f]{64}");

  private DatasetChecks() {}

  static boolean isName(String name) {
    return NAME.matcher(name).matches();
  }

  static void check(Dataset dataset) {
    if (!isName(dataset.getName())) {
      throw invalid("dataset.name: it must be 1 to 63 of a-z 0-9 . _ -");
    }
    if (dataset.getFormat() == DatasetFormat.DATASET_FORMAT_UNSPECIFIED
        || dataset.getFormat() == DatasetFormat.UNRECOGNIZED) {
      throw invalid("dataset.format: it is missing or unknown");
    }
    if (dataset.getFilesCount() == 0 || dataset.getSplitsCount() == 0) {
      throw invalid("dataset: it must have at least one file and one split");
    }
    Set<String> paths = new HashSet<>();
    for (DatasetFile file : dataset.getFilesList()) {
      String path = file.getPath();
      boolean inside =
          !path.isEmpty()
              && path.indexOf('\\') < 0
              && path.chars().noneMatch(c -> c < ' ')
              && Arrays.stream(path.split("/", -1))
                  .noneMatch(part -> part.isEmpty() || part.equals(".") || part.equals(".."));
      if (!inside || !paths.add(path)) {
        throw invalid("dataset.files: each path must be relative, without '..', and appear once");
      }
      if (!SHA256.matcher(file.getSha256()).matches() || file.getBytes() < 0) {
        throw invalid("dataset.files: each must have its bytes and its sha256 in hexadecimal");
      }
    }
    Set<String> splits = new HashSet<>();
    for (DatasetSplit split : dataset.getSplitsList()) {
      if (split.getName().isEmpty()
          || !splits.add(split.getName())
          || split.getSamples() < 0
          || split.getClasses() < 0
          || split.getShapeList().stream().anyMatch(n -> n < 0)) {
        throw invalid("dataset.splits: each must have its own name, and no number below 0");
      }
    }
  }
}
