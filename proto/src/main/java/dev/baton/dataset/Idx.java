package dev.baton.dataset;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * MNIST's format: a file of pictures and one of labels for each split, plain or gzip, under their
 * customary names.
 */
final class Idx {
  /** Where torchvision keeps its copies, below the folder that it is given. */
  private static final List<String> FOLDERS = List.of("", "raw", "MNIST/raw", "FashionMNIST/raw");

  private static final int IMAGES_MAGIC = 0x0803;
  private static final int LABELS_MAGIC = 0x0801;

  private Idx() {}

  /** Split and the prefix of its files' names. */
  enum Split {
    TRAIN("train", "train"),
    TEST("test", "t10k");

    final String split;
    private final String prefix;

    Split(String split, String prefix) {
      this.split = split;
      this.prefix = prefix;
    }

    private List<String> names(String kind, int dimensions) {
      List<String> names = new ArrayList<>();
      // Packed first: where both lie, the same data travels in fewer bytes.
      for (String packed : List.of(".gz", "")) {
        for (String separator : List.of("-", ".")) {
          names.add(prefix + "-" + kind + separator + "idx" + dimensions + "-ubyte" + packed);
        }
      }
      return names;
    }

    List<String> imageNames() {
      return names("images", 3);
    }

    List<String> labelNames() {
      return names("labels", 1);
    }
  }

  /** The folder below {@code path} that holds IDX files; null where none does. */
  static @Nullable Path folder(Path path) {
    List<Path> found = new ArrayList<>();
    for (String folder : FOLDERS) {
      Path candidate = path.resolve(folder);
      if (Split.TRAIN.imageNames().stream().anyMatch(n -> Files.exists(candidate.resolve(n)))) {
        found.add(candidate);
      }
    }
    if (found.size() > 1) {
      throw new DatasetException(
          path + " holds several data sets; give one of " + found.get(0) + ", " + found.get(1));
    }
    return found.isEmpty() ? null : found.get(0);
  }

  /** The four files, by the paths they travel under. */
  static Map<String, Path> files(Path path) {
    Path folder = folder(path);
    if (folder == null) {
      throw new DatasetException(
          path + " holds no train-images-idx3-ubyte or train-images-idx3-ubyte.gz");
    }
    Map<String, Path> files = new TreeMap<>(DatasetDigests.BY_PATH);
    for (Split split : Split.values()) {
      for (List<String> names : List.of(split.imageNames(), split.labelNames())) {
        String name =
            names.stream()
                .filter(n -> Files.exists(folder.resolve(n)))
                .findFirst()
                .orElseThrow(() -> new DatasetException(folder + " lacks " + names.get(0)));
        files.put(name, folder.resolve(name));
      }
    }
    return files;
  }

  /** Opens a split; both files are checked whole. */
  static SplitReader open(Map<String, Path> files, String split, Path tempDir) throws IOException {
    for (Split known : Split.values()) {
      if (known.split.equals(split)) {
        return open(entry(files, known.imageNames()), entry(files, known.labelNames()), tempDir);
      }
    }
    throw new DatasetException("there is no split " + split + "; IDX has train and test");
  }

  private static Map.Entry<String, Path> entry(Map<String, Path> files, List<String> names) {
    return files.entrySet().stream()
        .filter(e -> names.contains(e.getKey()))
        .findFirst()
        .orElseThrow(() -> new DatasetException("the data set lacks " + names.get(0)));
  }

  private static SplitReader open(
      Map.Entry<String, Path> images, Map.Entry<String, Path> labels, Path tempDir)
      throws IOException {
    int[] labelShape = shape(labels, LABELS_MAGIC, "labels");
    int[] shape = shape(images, IMAGES_MAGIC, "pictures");
    if (labelShape[0] != shape[0]) {
      throw new DatasetException(
          String.format(
              "%s holds %d pictures, but %s %d labels",
              images.getKey(), shape[0], labels.getKey(), labelShape[0]));
    }
    byte[] labelBytes;
    try (RawFile file = openWhole(labels, 8, labelShape, tempDir)) {
      labelBytes = file.read(8, labelShape[0]);
    }
    return new Reader(openWhole(images, 16, shape, tempDir), shape, labelBytes);
  }

  /** The dimensions that a file's header declares. */
  private static int[] shape(Map.Entry<String, Path> file, int magic, String what)
      throws IOException {
    int dimensions = magic & 0xFF;
    String name = file.getKey();
    byte[] head = RawFile.head(file.getValue(), name, 4 + 4 * dimensions);
    if (head.length < 4 + 4 * dimensions) {
      throw new DatasetException(name + " is cut short: it ends within its header");
    }
    ByteBuffer header = ByteBuffer.wrap(head);
    int found = header.getInt();
    if (found != magic) {
      throw new DatasetException(
          String.format(
              "%s is no IDX file of %s: it begins with %08x instead of %08x",
              name, what, found, magic));
    }
    int[] shape = new int[dimensions];
    for (int d = 0; d < dimensions; d++) {
      shape[d] = header.getInt();
    }
    if (shape[0] < 1 || shape[0] > DatasetReaders.MAX_SAMPLES) {
      throw new DatasetException(
          String.format(
              "%s declares %d %s; 1 to %d are read",
              name, shape[0] & 0xFFFFFFFFL, what, DatasetReaders.MAX_SAMPLES));
    }
    if (dimensions == 3
        && (shape[1] < 1 || shape[2] < 1 || (long) shape[1] * shape[2] > Picture.MAX_PIXELS)) {
      throw new DatasetException(
          String.format(
              "%s declares pictures of %dx%d; 1 to %d pixels are read",
              name, shape[1] & 0xFFFFFFFFL, shape[2] & 0xFFFFFFFFL, Picture.MAX_PIXELS));
    }
    return shape;
  }

  private static RawFile openWhole(
      Map.Entry<String, Path> file, int headerBytes, int[] shape, Path tempDir) throws IOException {
    long expected = headerBytes;
    long elements = 1;
    for (int d : shape) {
      elements *= d;
    }
    expected += elements;
    RawFile raw = RawFile.open(file.getValue(), file.getKey(), tempDir, expected);
    if (raw.size() != expected) {
      raw.close();
      throw new DatasetException(
          String.format(
              "%s holds %d bytes, but its header declares %d",
              file.getKey(), raw.size(), expected));
    }
    return raw;
  }

  private static final class Reader implements SplitReader {
    private final RawFile images;
    private final int height;
    private final int width;
    private final byte[] labels;

    Reader(RawFile images, int[] shape, byte[] labels) {
      this.images = images;
      this.height = shape[1];
      this.width = shape[2];
      this.labels = labels;
    }

    @Override
    public int size() {
      return labels.length;
    }

    @Override
    public int label(int index) {
      return labels[index] & 0xFF;
    }

    @Override
    public String name(int index) {
      return "picture " + index + " of " + images.name();
    }

    @Override
    public Picture read(int index) throws IOException {
      int bytes = height * width;
      return new Picture(1, height, width, images.read(16 + (long) index * bytes, bytes));
    }

    @Override
    public void close() throws IOException {
      images.close();
    }
  }
}
