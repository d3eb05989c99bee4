package dev.baton.worker.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assumptions.assumeThat;
import static org.awaitility.Awaitility.await;

import dev.baton.dataset.DatasetDigests;
import dev.baton.dataset.DatasetScanner;
import dev.baton.dataset.ProgressListener;
import dev.baton.dataset.ScannedDataset;
import dev.baton.v1.LocalDataset;
import dev.baton.v1.Source;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** MNIST and CIFAR-10, where they lie beside the repository. */
class RealDataTest {
  private static final Path DATA = Path.of("../../shared/data");

  @TempDir Path staging;
  @TempDir Path decoded;

  /** The files themselves are not the temporary folder's to delete. */
  @AfterEach
  void unlink() throws IOException {
    try (Stream<Path> links = Files.list(staging)) {
      for (Path link : links.filter(Files::isSymbolicLink).toList()) {
        Files.delete(link);
      }
    }
  }

  private LocalDataset push(Path path) throws Exception {
    ScannedDataset scanned = DatasetScanner.scan(path, null, staging, ProgressListener.NONE);
    for (int i = 0; i < scanned.localFiles().size(); i++) {
      Path local = scanned.localFiles().get(i).toAbsolutePath();
      Path staged = staging.resolve(scanned.dataset().getFiles(i).getPath());
      Files.createSymbolicLink(staged, local);
    }
    return LocalDataset.newBuilder()
        .setDataset(
            scanned.dataset().toBuilder()
                .setName("real")
                .setDigest(DatasetDigests.digest(scanned.dataset())))
        .setDir(staging.toString())
        .build();
  }

  private SampleSource open(LocalDataset dataset, String split) {
    SampleSource source =
        SampleSources.open(
            Source.newBuilder().setDataset("real").setSplit(split).build(),
            List.of(),
            List.of(dataset),
            decoded,
            1);
    await()
        .atMost(Duration.ofMinutes(2))
        .pollInterval(Duration.ofMillis(5))
        .until(() -> ((PictureSource) source).isComplete());
    return source;
  }

  /** Counts labels, and gives the mean of each channel. */
  private static double[] read(SampleSource source, int[] histogram) {
    int n = (int) source.size();
    int channels = source.format().xShape().get(0);
    int plane = source.format().xBytes() / channels;
    SampleSource.Slice all = Objects.requireNonNull(source.view(0, n));
    double[] means = new double[channels];
    for (int i = 0; i < n; i++) {
      histogram[(int) all.y().getLong(8 * i)]++;
      for (int c = 0; c < channels; c++) {
        long sum = 0;
        for (int p = 0; p < plane; p++) {
          sum += all.x().get((i * channels + c) * plane + p) & 0xFF;
        }
        means[c] += (double) sum / plane / n;
      }
    }
    return means;
  }

  @Test
  void mnist() throws Exception {
    assumeThat(DATA.resolve("mnist")).exists();
    LocalDataset dataset = push(DATA.resolve("mnist"));
    int[] labels = new int[10];
    try (SampleSource train = open(dataset, "train")) {
      assertThat(train.size()).isEqualTo(60_000);
      assertThat(train.format().xShape()).containsExactly(1, 28, 28);
      assertThat(read(train, labels)[0]).isCloseTo(33.318, within(0.001));
      assertThat(labels)
          .containsExactly(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949);
    }
    try (SampleSource test = open(dataset, "test")) {
      assertThat(test.size()).isEqualTo(10_000);
      Arrays.fill(labels, 0);
      assertThat(read(test, labels)[0]).isCloseTo(33.791, within(0.001));
      assertThat(labels).containsExactly(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009);
    }
  }

  @Test
  void cifarAsPictures() throws Exception {
    assumeThat(DATA.resolve("cifar-10-images.tar")).exists();
    LocalDataset dataset = push(DATA.resolve("cifar-10-images.tar"));
    assertThat(dataset.getDataset().getClassNamesList())
        .containsExactly(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck");
    int[] labels = new int[10];
    try (SampleSource train = open(dataset, "train")) {
      assertThat(train.size()).isEqualTo(50_000);
      assertThat(train.format().xShape()).containsExactly(3, 32, 32);
      double[] means = read(train, labels);
      // CIFAR-10's own: 125.31, 122.95, 113.87.
      assertThat(means[0]).isCloseTo(125.3, within(0.3));
      assertThat(means[1]).isCloseTo(123.0, within(0.3));
      assertThat(means[2]).isCloseTo(113.9, within(0.3));
      assertThat(labels).containsOnly(5000);
    }
    try (SampleSource test = open(dataset, "test")) {
      Arrays.fill(labels, 0);
      read(test, labels);
      assertThat(labels).containsOnly(1000);
    }
  }
}
