package dev.baton.dataset;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.DatasetFormat;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Damaged files end in one line, whatever the damage. */
class DamagedDatasetsTest {
  private static final int ROUNDS = 400;

  @TempDir Path dir;
  @TempDir Path staging;

  private static byte[] mutate(byte[] whole, SplittableRandom random) {
    byte[] bytes = whole.clone();
    switch (random.nextInt(4)) {
      case 0 -> bytes = Arrays.copyOf(bytes, random.nextInt(bytes.length + 1));
      case 1 -> bytes = Arrays.copyOf(bytes, bytes.length + random.nextInt(2000));
      default -> {}
    }
    int flips = random.nextInt(12);
    for (int i = 0; i < flips && bytes.length > 0; i++) {
      // Headers are where the interesting bytes lie.
      int at = random.nextInt(random.nextBoolean() ? bytes.length : Math.min(bytes.length, 600));
      bytes[at] =
          switch (random.nextInt(3)) {
            case 0 -> (byte) random.nextInt(256);
            case 1 -> (byte) (bytes[at] ^ 1 << random.nextInt(8));
            default -> random.nextBoolean() ? (byte) 0xFF : 0;
          };
    }
    return bytes;
  }

  /** Scans mutations of one of the files, with nothing but a DatasetException to come out. */
  private void fuzz(Path path, Path victim, DatasetFormat format, long seed) throws Exception {
    byte[] whole = Files.readAllBytes(victim);
    int refused = 0;
    for (int round = 0; round < ROUNDS; round++) {
      SplittableRandom random = new SplittableRandom(seed + round);
      Files.write(victim, mutate(whole, random));
      try {
        DatasetScanner.scan(path, format, staging, ProgressListener.NONE);
      } catch (DatasetException e) {
        refused++;
        assertThat(e.getMessage()).isNotBlank().doesNotContain("\n");
      } catch (IOException | RuntimeException | Error e) {
        throw new AssertionError("seed " + (seed + round) + " of " + victim, e);
      }
    }
    Files.write(victim, whole);
    assertThat(refused).isBetween(ROUNDS / 4, ROUNDS - 1);
  }

  @Test
  void idx() throws Exception {
    IdxFiles.write(dir, 20, 5, false);
    fuzz(dir, dir.resolve("train-images-idx3-ubyte"), DatasetFormat.DATASET_FORMAT_IDX, 0);
    fuzz(dir, dir.resolve("t10k-labels-idx1-ubyte"), DatasetFormat.DATASET_FORMAT_IDX, 10_000);
  }

  @Test
  void gzippedIdx() throws Exception {
    IdxFiles.write(dir, 20, 5, true);
    fuzz(dir, dir.resolve("train-images-idx3-ubyte.gz"), DatasetFormat.DATASET_FORMAT_IDX, 0);
  }

  @Test
  void tarOfPictures() throws Exception {
    Map<String, byte[]> files = new LinkedHashMap<>();
    try (var jpeg = DamagedDatasetsTest.class.getResourceAsStream("rgb.jpg");
        var palette = DamagedDatasetsTest.class.getResourceAsStream("palette.png")) {
      files.put("train/a/1.jpg", java.util.Objects.requireNonNull(jpeg).readAllBytes());
      files.put("train/a/2.png", java.util.Objects.requireNonNull(palette).readAllBytes());
    }
    files.put("train/" + "b".repeat(120) + "/1.png", Pictures.png(5, 5, 3, false));
    Path tar = Files.write(dir.resolve("p.tar"), Pictures.tar(files));
    fuzz(tar, tar, DatasetFormat.DATASET_FORMAT_IMAGE_FOLDER, 0);
    Files.write(tar, IdxFiles.gzip(Pictures.tar(files)));
    fuzz(tar, tar, DatasetFormat.DATASET_FORMAT_IMAGE_FOLDER, 50_000);
  }

  @Test
  void detection() throws Exception {
    Path tar =
        Files.write(
            dir.resolve("p.tar"),
            Pictures.tar(Map.of("train/a/1.png", Pictures.png(5, 5, 3, false))));
    byte[] whole = Files.readAllBytes(tar);
    int known = 0;
    for (int round = 0; round < 300; round++) {
      Files.write(tar, mutate(whole, new SplittableRandom(round)));
      try {
        DatasetScanner.scan(tar, null, staging, ProgressListener.NONE);
        known++;
      } catch (DatasetException e) {
        assertThat(e.getMessage()).isNotBlank();
      }
    }
    assertThat(known).isPositive();
  }

  @Test
  void pictures() throws Exception {
    for (String name :
        new String[] {"rgb.jpg", "gray.jpg", "rgb.png", "palette.png", "gray16.png", "alpha.png"}) {
      byte[] whole;
      try (var in = DamagedDatasetsTest.class.getResourceAsStream(name)) {
        whole = java.util.Objects.requireNonNull(in).readAllBytes();
      }
      for (int round = 0; round < 400; round++) {
        byte[] bytes = mutate(whole, new SplittableRandom(round));
        try {
          assertThat(PictureDecoder.ofThread().decode(bytes, name).pixels()).isNotEmpty();
        } catch (DatasetException e) {
          assertThat(e).hasMessageStartingWith(name);
        } catch (RuntimeException | Error e) {
          throw new AssertionError(name + ", seed " + round, e);
        }
      }
    }
  }
}
