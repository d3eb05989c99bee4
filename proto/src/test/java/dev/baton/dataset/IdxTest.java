package dev.baton.dataset;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.v1.DatasetFile;
import dev.baton.v1.DatasetFormat;
import dev.baton.v1.DatasetSplit;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class IdxTest {
  @TempDir Path dir;
  @TempDir Path staging;

  private ScannedDataset scan(Path path) throws IOException, InterruptedException {
    return DatasetScanner.scan(path, null, staging, ProgressListener.NONE);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void readsTheFourFiles(boolean gzip) throws Exception {
    IdxFiles.write(dir, 25, 7, gzip);
    ScannedDataset scanned = scan(dir);
    assertThat(scanned.dataset().getFormat()).isEqualTo(DatasetFormat.DATASET_FORMAT_IDX);
    assertThat(scanned.dataset().getSplitsList())
        .containsExactly(
            DatasetSplit.newBuilder()
                .setName("train")
                .setSamples(25)
                .addAllShape(List.of(1, 4, 5))
                .setClasses(10)
                .build(),
            DatasetSplit.newBuilder()
                .setName("test")
                .setSamples(7)
                .addAllShape(List.of(1, 4, 5))
                .setClasses(7)
                .build());
    String end = gzip ? ".gz" : "";
    assertThat(scanned.dataset().getFilesList().stream().map(DatasetFile::getPath))
        .containsExactly(
            "t10k-images-idx3-ubyte" + end,
            "t10k-labels-idx1-ubyte" + end,
            "train-images-idx3-ubyte" + end,
            "train-labels-idx1-ubyte" + end);
    for (int i = 0; i < 4; i++) {
      assertThat(scanned.localFiles().get(i).getFileName())
          .hasToString(scanned.dataset().getFiles(i).getPath());
      assertThat(scanned.dataset().getFiles(i).getBytes())
          .isEqualTo(Files.size(scanned.localFiles().get(i)));
    }
    try (SplitReader reader = DatasetReaders.open(scanned.dataset(), dir, "train", staging)) {
      assertThat(reader.size()).isEqualTo(25);
      assertThat(reader.label(13)).isEqualTo(3);
      Picture picture = reader.read(24);
      assertThat(picture.channels()).isEqualTo(1);
      assertThat(picture.height()).isEqualTo(4);
      assertThat(picture.width()).isEqualTo(5);
      assertThat(picture.pixels()[0]).isEqualTo((byte) 24);
      assertThat(picture.pixels()[19]).isEqualTo((byte) 43);
    }
    try (var left = Files.list(staging)) {
      assertThat(left).isEmpty();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"raw", "MNIST/raw", "FashionMNIST/raw"})
  void findsTorchvisionsFolders(String folder) throws Exception {
    IdxFiles.write(dir.resolve(folder), 5, 5, true);
    assertThat(scan(dir).dataset().getFilesList()).hasSize(4);
  }

  @Test
  void twoDataSetsBelowOnePathAreTooMany() {
    IdxFiles.write(dir.resolve("MNIST/raw"), 5, 5, true);
    IdxFiles.write(dir.resolve("FashionMNIST/raw"), 5, 5, true);
    assertThatThrownBy(() -> scan(dir))
        .isInstanceOf(DatasetException.class)
        .hasMessageContaining("several data sets");
  }

  @Test
  void takesDotsInNames() throws Exception {
    IdxFiles.write(dir, 5, 5, false);
    for (String name : List.of("train-images-idx3", "t10k-labels-idx1")) {
      Files.move(
          dir.resolve(name + "-ubyte"), dir.resolve(name.replace("-idx", ".idx") + "-ubyte"));
    }
    assertThat(scan(dir).dataset().getFilesList().stream().map(DatasetFile::getPath))
        .contains("train-images.idx3-ubyte", "t10k-labels.idx1-ubyte");
  }

  private void refuses(String message) {
    assertThatThrownBy(() -> scan(dir))
        .isInstanceOf(DatasetException.class)
        .hasMessageContaining(message)
        .hasMessageNotContaining("\n");
  }

  @Test
  void aMissingFileIsNamed() throws IOException {
    IdxFiles.write(dir, 5, 5, true);
    Files.delete(dir.resolve("t10k-labels-idx1-ubyte.gz"));
    refuses("lacks t10k-labels-idx1-ubyte");
  }

  @Test
  void aTruncatedGzipIsNamed() throws IOException {
    IdxFiles.write(dir, 500, 5, true);
    Path file = dir.resolve("train-images-idx3-ubyte.gz");
    byte[] bytes = Files.readAllBytes(file);
    Files.write(file, Arrays.copyOf(bytes, bytes.length - 9));
    refuses("train-images-idx3-ubyte.gz is a truncated gzip file");
    bytes[bytes.length - 6] ^= 0x55; // of the CRC
    Files.write(file, bytes);
    refuses("train-images-idx3-ubyte.gz is a damaged gzip file");
  }

  @Test
  void aWrongMagicIsNamed() throws IOException {
    IdxFiles.write(dir, 5, 5, false);
    Files.copy(
        dir.resolve("train-labels-idx1-ubyte"),
        dir.resolve("t10k-images-idx3-ubyte"),
        java.nio.file.StandardCopyOption.REPLACE_EXISTING);
    refuses("t10k-images-idx3-ubyte");
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void missingAndTrailingBytesAreCounted(boolean gzip) throws IOException {
    IdxFiles.write(dir, 5, 5, gzip);
    Path file = dir.resolve("train-images-idx3-ubyte" + (gzip ? ".gz" : ""));
    byte[] whole = IdxFiles.images(5, 4, 5);
    IdxFiles.write(file, Arrays.copyOf(whole, whole.length - 1), gzip);
    refuses("holds 115 bytes, but its header declares 116");
    IdxFiles.write(file, Arrays.copyOf(whole, whole.length + 1), gzip);
    refuses(gzip ? "more than the 116 bytes" : "holds 117 bytes, but its header declares 116");
    IdxFiles.write(file, Arrays.copyOf(whole, 7), gzip);
    refuses("cut short");
    IdxFiles.write(file, new byte[0], gzip);
    refuses("cut short");
  }

  @Test
  void hugeDeclaredSizesCostNothing() throws IOException {
    IdxFiles.write(dir, 5, 5, true);
    Path file = dir.resolve("train-images-idx3-ubyte.gz");
    byte[] bytes = IdxFiles.images(5, 4, 5);
    ByteBuffer.wrap(bytes).putInt(4, 0x7FFFFFFF);
    IdxFiles.write(file, bytes, true);
    refuses("declares 2147483647 pictures");
    ByteBuffer.wrap(bytes).putInt(4, 5).putInt(8, -1);
    IdxFiles.write(file, bytes, true);
    refuses("declares pictures of 4294967295x5");
    ByteBuffer.wrap(bytes).putInt(4, 1 << 26).putInt(8, 1 << 12).putInt(12, 1 << 12);
    IdxFiles.write(file, bytes, true);
    refuses("train-images-idx3-ubyte.gz holds 67108864 pictures");
  }

  @Test
  void countsMustAgree() throws IOException {
    IdxFiles.write(dir, 5, 5, false);
    Files.write(dir.resolve("train-labels-idx1-ubyte"), IdxFiles.labels(6));
    refuses("train-images-idx3-ubyte holds 5 pictures, but train-labels-idx1-ubyte 6 labels");
  }
}
