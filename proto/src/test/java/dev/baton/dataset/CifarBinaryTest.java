package dev.baton.dataset;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.v1.DatasetFile;
import dev.baton.v1.DatasetFormat;
import dev.baton.v1.DatasetSplit;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CifarBinaryTest {
  @TempDir Path dir;
  @TempDir Path staging;

  /** Record i has label (first + i) % 10; every pixel is its number. */
  private static byte[] records(int count, int first, int labelBytes) {
    byte[] bytes = new byte[count * (labelBytes + 3072)];
    for (int i = 0; i < count; i++) {
      int at = i * (labelBytes + 3072);
      java.util.Arrays.fill(bytes, at, at + labelBytes + 3072, (byte) (first + i));
      bytes[at] = 0;
      bytes[at + labelBytes - 1] = (byte) ((first + i) % 10);
    }
    return bytes;
  }

  private static Map<String, byte[]> cifar10() {
    Map<String, byte[]> files = new LinkedHashMap<>();
    files.put("test_batch.bin", records(3, 50, 1));
    for (int b = 5; b >= 1; b--) {
      files.put("data_batch_" + b + ".bin", records(2, 2 * b - 2, 1));
    }
    files.put(
        "batches.meta.txt",
        (IntStream.range(0, 10).mapToObj(i -> "name" + i).collect(Collectors.joining("\n"))
                + "\n\n")
            .getBytes(StandardCharsets.UTF_8));
    files.put("readme.html", "<html>".getBytes(StandardCharsets.UTF_8));
    return files;
  }

  private static void write(Path folder, Map<String, byte[]> files) throws IOException {
    Files.createDirectories(folder);
    for (Map.Entry<String, byte[]> file : files.entrySet()) {
      Files.write(folder.resolve(file.getKey()), file.getValue());
    }
  }

  private ScannedDataset scan(Path path) throws IOException, InterruptedException {
    return DatasetScanner.scan(path, null, staging, ProgressListener.NONE);
  }

  private void check(ScannedDataset scanned) throws IOException {
    assertThat(scanned.dataset().getFormat()).isEqualTo(DatasetFormat.DATASET_FORMAT_CIFAR_BINARY);
    assertThat(scanned.dataset().getClassNamesList()).hasSize(10).contains("name9");
    assertThat(scanned.dataset().getSplitsList())
        .extracting(DatasetSplit::getName, DatasetSplit::getSamples, DatasetSplit::getShapeList)
        .containsExactly(
            org.assertj.core.groups.Tuple.tuple("train", 10L, List.of(3, 32, 32)),
            org.assertj.core.groups.Tuple.tuple("test", 3L, List.of(3, 32, 32)));
    assertThat(scanned.dataset().getFilesList())
        .extracting(DatasetFile::getPath)
        .containsExactly(
            "batches.meta.txt",
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
            "test_batch.bin");
    Path folder = scanned.localFiles().get(0).resolveSibling("");
    try (SplitReader reader = DatasetReaders.open(scanned.dataset(), folder, "train", staging)) {
      for (int i = 0; i < 10; i++) {
        assertThat(reader.label(i)).isEqualTo(i);
        assertThat(reader.read(i).pixels()).hasSize(3072).containsOnly(i);
      }
      assertThat(reader.name(9)).isEqualTo("picture 1 of data_batch_5.bin");
    }
  }

  @Test
  void readsFoldersAndArchivesAlike() throws Exception {
    write(dir.resolve("cifar-10-batches-bin"), cifar10());
    ScannedDataset fromFolder = scan(dir);
    check(fromFolder);
    Map<String, byte[]> inFolder = new LinkedHashMap<>();
    inFolder.put("cifar-10-batches-bin/", new byte[0]);
    cifar10().forEach((name, bytes) -> inFolder.put("cifar-10-batches-bin/" + name, bytes));
    Path archive = Files.write(dir.resolve("c.tar.gz"), IdxFiles.gzip(Pictures.tar(inFolder)));
    ScannedDataset fromArchive = scan(archive);
    check(fromArchive);
    assertThat(fromArchive.dataset()).isEqualTo(fromFolder.dataset());
  }

  @Test
  void readsCifar100ByItsFineLabels() throws Exception {
    Map<String, byte[]> files = new LinkedHashMap<>();
    files.put("train.bin", records(4, 6, 2));
    files.put("test.bin", records(4, 0, 2));
    write(dir.resolve("cifar-100-binary"), files);
    ScannedDataset scanned = scan(dir);
    assertThat(scanned.dataset().getSplits(0).getClasses()).isEqualTo(10);
    try (SplitReader reader =
        DatasetReaders.open(scanned.dataset(), dir.resolve("cifar-100-binary"), "train", staging)) {
      assertThat(reader.label(3)).isEqualTo(9);
      assertThat(reader.read(3).pixels()).containsOnly(9);
    }
  }

  private void refuses(Path path, String message) {
    assertThatThrownBy(() -> scan(path))
        .isInstanceOf(DatasetException.class)
        .hasMessageContaining(message)
        .hasMessageNotContaining("\n");
  }

  @Test
  void thePythonVersionIsRecognised() throws IOException {
    write(dir.resolve("a/cifar-10-batches-py"), Map.of("data_batch_1", new byte[10]));
    refuses(dir.resolve("a"), "cifar-10-binary.tar.gz");
    Path archive =
        Files.write(
            dir.resolve("p.tar.gz"),
            IdxFiles.gzip(Pictures.tar(Map.of("cifar-10-batches-py/data_batch_1", new byte[10]))));
    refuses(archive, "cifar-10-binary.tar.gz");
  }

  @Test
  void damageIsNamed() throws IOException {
    Map<String, byte[]> files = cifar10();
    files.remove("data_batch_4.bin");
    write(dir.resolve("a"), files);
    refuses(dir.resolve("a"), "lacks data_batch_4.bin");
    files.put("data_batch_4.bin", new byte[3072]);
    write(dir.resolve("a"), files);
    refuses(dir.resolve("a"), "data_batch_4.bin has 3072 bytes");
    byte[] bad = records(2, 0, 1);
    bad[3073] = 10;
    files.put("data_batch_4.bin", bad);
    write(dir.resolve("a"), files);
    refuses(dir.resolve("a"), "record 1 of data_batch_4.bin has label 10");
    files.put("data_batch_4.bin", records(2, 0, 1));
    files.put("batches.meta.txt", "one\ntwo".getBytes(StandardCharsets.UTF_8));
    write(dir.resolve("a"), files);
    refuses(dir.resolve("a"), "batches.meta.txt holds 2 names instead of 10");
  }
}
