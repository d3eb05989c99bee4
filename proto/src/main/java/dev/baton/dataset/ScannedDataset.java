package dev.baton.dataset;

import dev.baton.v1.Dataset;
import java.nio.file.Path;
import java.util.List;

/**
 * A data set on this machine that was read whole and found good.
 *
 * @param dataset format, files, splits and class names; the name is the caller's to set
 * @param localFiles where each of {@code dataset.files} lies, in that order
 */
public record ScannedDataset(Dataset dataset, List<Path> localFiles) {
  public ScannedDataset {
    localFiles = List.copyOf(localFiles);
  }
}
