package dev.baton.dataset;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The binary versions of CIFAR-10 and CIFAR-100: records of label bytes and a picture of 3x32x32,
 * planar. An archive of them is unpacked before it travels: the same data has one digest.
 */
final class CifarBinary {
  private static final int PICTURE_BYTES = 3 * 32 * 32;
  private static final int CHUNK_RECORDS = 256;

  /** Far beyond the real ones' 180 MB. */
  private static final long MAX_UNPACKED = 2L << 30;

  private CifarBinary() {}

  private static final Kind CIFAR_10 =
      new Kind(
          "cifar-10",
          "cifar-10-batches-bin",
          List.of(
              "data_batch_1.bin",
              "data_batch_2.bin",
              "data_batch_3.bin",
              "data_batch_4.bin",
              "data_batch_5.bin"),
          "test_batch.bin",
          "batches.meta.txt",
          1,
          10);

  private static final Kind CIFAR_100 =
      new Kind(
          "cifar-100",
          "cifar-100-binary",
          List.of("train.bin"),
          "test.bin",
          "fine_label_names.txt",
          2,
          100);

  private static final List<Kind> KINDS = List.of(CIFAR_10, CIFAR_100);

  /**
   * One of the two.
   *
   * @param labelBytes before each picture; the last one is the label (CIFAR-100's fine one)
   */
  private record Kind(
      String title,
      String folder,
      List<String> train,
      String test,
      String names,
      int labelBytes,
      int classes) {
    List<String> required() {
      List<String> files = new ArrayList<>(train);
      files.add(test);
      return files;
    }

    int recordBytes() {
      return labelBytes + PICTURE_BYTES;
    }
  }

  /** Whether what lies at or below the path is CIFAR in any version. */
  static boolean looksLike(Path path) throws IOException {
    if (Files.isDirectory(path)) {
      return folder(path) != null || pickle(path) != null;
    }
    String first = Tar.firstPath(path);
    return first.startsWith("cifar-10") || first.contains("data_batch_");
  }

  /** The files that travel, by path. */
  static Map<String, Path> files(Path path, Path stagingDir) throws IOException {
    if (!Files.isDirectory(path)) {
      return unpack(path, stagingDir);
    }
    Path folder = folder(path);
    if (folder == null) {
      Path pickle = pickle(path);
      throw pickle != null
          ? pickled(pickle.toString())
          : new DatasetException(path + " holds neither data_batch_1.bin nor train.bin");
    }
    Map<String, Path> files = new TreeMap<>(DatasetDigests.BY_PATH);
    Kind kind = kindOf(folder);
    for (String name : kind.required()) {
      if (!Files.exists(folder.resolve(name))) {
        throw new DatasetException(folder + " lacks " + name);
      }
      files.put(name, folder.resolve(name));
    }
    if (Files.exists(folder.resolve(kind.names))) {
      files.put(kind.names, folder.resolve(kind.names));
    }
    return files;
  }

  private static @Nullable Path folder(Path path) {
    for (Kind kind : KINDS) {
      for (Path candidate : List.of(path, path.resolve(kind.folder))) {
        if (Files.exists(candidate.resolve(kind.train.get(0)))) {
          return candidate;
        }
      }
    }
    return null;
  }

  private static Kind kindOf(Path folder) {
    return Files.exists(folder.resolve(CIFAR_10.train.get(0))) ? CIFAR_10 : CIFAR_100;
  }

  private static @Nullable Path pickle(Path path) {
    for (String below : List.of("", "cifar-10-batches-py", "cifar-100-python")) {
      Path folder = path.resolve(below);
      if (Files.exists(folder.resolve("data_batch_1"))
          || (Files.exists(folder.resolve("meta")) && Files.exists(folder.resolve("train")))) {
        return folder;
      }
    }
    return null;
  }

  private static boolean isPickle(String path) {
    return path.contains("cifar-10-batches-py") || path.contains("cifar-100-python");
  }

  private static DatasetException pickled(String where) {
    return new DatasetException(
        where
            + " is CIFAR's Python version (pickled objects); take the binary version,"
            + " cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html");
  }

  private static Map<String, Path> unpack(Path archive, Path stagingDir) throws IOException {
    String name = archive.toString();
    try (RawFile tar = RawFile.open(archive, name, stagingDir, MAX_UNPACKED)) {
      Map<String, Tar.Entry> entries = new TreeMap<>();
      for (Tar.Entry entry : Tar.entries(tar)) {
        if (isPickle(entry.path())) {
          throw pickled(name);
        }
        if (!entry.directory()) {
          String path = entry.path();
          String base = path.substring(path.lastIndexOf('/') + 1);
          if (entries.put(base, entry) != null) {
            throw new DatasetException(name + " holds " + base + " twice");
          }
        }
      }
      Kind kind = entries.containsKey(CIFAR_10.train.get(0)) ? CIFAR_10 : CIFAR_100;
      Map<String, Path> files = new TreeMap<>(DatasetDigests.BY_PATH);
      Path folder = Files.createDirectories(stagingDir.resolve(kind.folder));
      for (String wanted : kind.required()) {
        Tar.Entry entry = entries.get(wanted);
        if (entry == null) {
          throw new DatasetException(name + " lacks " + wanted);
        }
        files.put(wanted, copy(tar, entry, folder.resolve(wanted)));
      }
      Tar.Entry names = entries.get(kind.names);
      if (names != null) {
        files.put(kind.names, copy(tar, names, folder.resolve(kind.names)));
      }
      return files;
    }
  }

  private static Path copy(RawFile tar, Tar.Entry entry, Path target) throws IOException {
    try (FileChannel out =
        FileChannel.open(
            target,
            StandardOpenOption.CREATE,
            StandardOpenOption.TRUNCATE_EXISTING,
            StandardOpenOption.WRITE)) {
      for (long done = 0; done < entry.size(); ) {
        int n = (int) Math.min(1 << 20, entry.size() - done);
        ByteBuffer chunk = ByteBuffer.wrap(tar.read(entry.offset() + done, n));
        while (chunk.hasRemaining()) {
          out.write(chunk);
        }
        done += n;
      }
    }
    return target;
  }

  /** By index; empty where the data set does not have them. */
  static List<String> classNames(Map<String, Path> files) throws IOException {
    Kind kind = kindOf(files);
    Path path = files.get(kind.names);
    if (path == null) {
      return List.of();
    }
    byte[] bytes;
    try (var in = Files.newInputStream(path)) {
      bytes = in.readNBytes(1 << 16);
    }
    List<String> names =
        new String(bytes, StandardCharsets.UTF_8)
            .lines()
            .map(String::strip)
            .filter(line -> !line.isEmpty())
            .toList();
    if (names.size() != kind.classes) {
      throw new DatasetException(
          kind.names + " holds " + names.size() + " names instead of " + kind.classes);
    }
    return names;
  }

  private static Kind kindOf(Map<String, Path> files) {
    return files.containsKey(CIFAR_10.test) ? CIFAR_10 : CIFAR_100;
  }

  /** Opens a split; sizes and labels are checked. */
  static SplitReader open(Map<String, Path> files, String split) throws IOException {
    Kind kind = kindOf(files);
    List<String> names =
        switch (split) {
          case "train" -> kind.train;
          case "test" -> List.of(kind.test);
          default ->
              throw new DatasetException(
                  "there is no split " + split + "; " + kind.title + " has train and test");
        };
    List<Batch> batches = new ArrayList<>();
    try {
      int first = 0;
      for (String name : names) {
        Path path = files.get(name);
        if (path == null) {
          throw new DatasetException("the data set lacks " + name);
        }
        Batch batch = Batch.open(path, name, kind, first);
        batches.add(batch);
        first += batch.labels.length;
      }
      return new Reader(kind, List.copyOf(batches), first);
    } catch (IOException | RuntimeException e) {
      for (Batch batch : batches) {
        batch.file.close();
      }
      throw e;
    }
  }

  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record Batch(RawFile file, int first, byte[] labels) {
    static Batch open(Path path, String name, Kind kind, int first) throws IOException {
      long size = Files.size(path);
      if (size == 0
          || size % kind.recordBytes() != 0
          || size / kind.recordBytes() > DatasetReaders.MAX_SAMPLES / 8) {
        throw new DatasetException(
            String.format(
                "%s has %d bytes; %s's files are whole records of %d",
                name, size, kind.title, kind.recordBytes()));
      }
      RawFile file = RawFile.openPlain(path, name);
      try {
        return new Batch(file, first, labels(file, kind));
      } catch (IOException | RuntimeException e) {
        file.close();
        throw e;
      }
    }

    private static byte[] labels(RawFile file, Kind kind) throws IOException {
      int record = kind.recordBytes();
      byte[] labels = new byte[(int) (file.size() / record)];
      for (int from = 0; from < labels.length; from += CHUNK_RECORDS) {
        int count = Math.min(CHUNK_RECORDS, labels.length - from);
        byte[] chunk = file.read((long) from * record, count * record);
        for (int i = 0; i < count; i++) {
          byte label = chunk[i * record + kind.labelBytes - 1];
          if ((label & 0xFF) >= kind.classes) {
            throw new DatasetException(
                String.format(
                    "record %d of %s has label %d; %s's are below %d",
                    from + i, file.name(), label & 0xFF, kind.title, kind.classes));
          }
          labels[from + i] = label;
        }
      }
      return labels;
    }
  }

  private static final class Reader implements SplitReader {
    private final Kind kind;
    private final List<Batch> batches;
    private final int size;

    Reader(Kind kind, List<Batch> batches, int size) {
      this.kind = kind;
      this.batches = batches;
      this.size = size;
    }

    private Batch batchOf(int index) {
      int b = batches.size() - 1;
      while (batches.get(b).first > index) {
        b--;
      }
      return batches.get(b);
    }

    @Override
    public int size() {
      return size;
    }

    @Override
    public int label(int index) {
      Batch batch = batchOf(index);
      return batch.labels[index - batch.first] & 0xFF;
    }

    @Override
    public String name(int index) {
      Batch batch = batchOf(index);
      return "picture " + (index - batch.first) + " of " + batch.file.name();
    }

    @Override
    public Picture read(int index) throws IOException {
      Batch batch = batchOf(index);
      long at = (long) (index - batch.first) * kind.recordBytes() + kind.labelBytes;
      return new Picture(3, 32, 32, batch.file.read(at, PICTURE_BYTES));
    }

    @Override
    public void close() throws IOException {
      for (Batch batch : batches) {
        batch.file.close();
      }
    }
  }
}
