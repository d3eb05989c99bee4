package dev.baton.dataset;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.v1.DatasetFormat;
import dev.baton.v1.DatasetSplit;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.apache.commons.compress.archivers.tar.TarConstants;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ImageFolderTest {
  private static final byte[] NOTE = "hello".getBytes(StandardCharsets.UTF_8);

  @TempDir Path dir;
  @TempDir Path staging;
  private final Map<String, byte[]> files = new LinkedHashMap<>();

  @BeforeEach
  void twoClassesInTwoSplits() {
    files.put("train/dog/b.png", Pictures.png(3, 4, 20, true));
    files.put("train/dog/a.png", Pictures.png(3, 4, 10, true));
    files.put("train/cat/z.png", Pictures.png(3, 4, 30, true));
    files.put("test/cat/1.png", Pictures.png(3, 4, 40, true));
    files.put("test/dog/1.png", Pictures.png(3, 4, 50, true));
  }

  private Path tarFile(byte[] content) throws IOException {
    return Files.write(dir.resolve("some.tar"), content);
  }

  private Path folder() throws IOException {
    for (Map.Entry<String, byte[]> file : files.entrySet()) {
      Path path = dir.resolve("folder").resolve(file.getKey());
      if (file.getKey().endsWith("/")) {
        Files.createDirectories(path);
      } else {
        Files.createDirectories(path.getParent());
        Files.write(path, file.getValue());
      }
    }
    return dir.resolve("folder");
  }

  private ScannedDataset scan(Path path) throws IOException, InterruptedException {
    return DatasetScanner.scan(path, null, staging, ProgressListener.NONE);
  }

  private static DatasetSplit split(String name, int samples, Integer... shape) {
    return DatasetSplit.newBuilder()
        .setName(name)
        .setSamples(samples)
        .addAllShape(List.of(shape))
        .setClasses(2)
        .build();
  }

  private static List<String> names(ScannedDataset scanned, String split, Path temp)
      throws IOException {
    Map<String, Path> files =
        Map.of(scanned.dataset().getFiles(0).getPath(), scanned.localFiles().get(0));
    List<String> names = new ArrayList<>();
    try (SplitReader reader =
        DatasetReaders.open(DatasetFormat.DATASET_FORMAT_IMAGE_FOLDER, files, split, temp)) {
      for (int i = 0; i < reader.size(); i++) {
        names.add(reader.name(i) + " " + reader.label(i) + " " + reader.read(i).pixels()[0]);
      }
    }
    return names;
  }

  @Test
  void samplesAreSortedByClassAndNameWhateverTheTarsOrder() throws Exception {
    ScannedDataset scanned = scan(tarFile(Pictures.tar(files)));
    assertThat(scanned.dataset().getFormat()).isEqualTo(DatasetFormat.DATASET_FORMAT_IMAGE_FOLDER);
    assertThat(scanned.dataset().getClassNamesList()).containsExactly("cat", "dog");
    assertThat(scanned.dataset().getSplitsList())
        .containsExactly(split("train", 3, 3, 3, 4), split("test", 2, 3, 3, 4));
    assertThat(scanned.dataset().getFiles(0).getPath()).isEqualTo("pictures.tar");
    assertThat(names(scanned, "train", staging))
        .containsExactly("train/cat/z.png 0 30", "train/dog/a.png 1 10", "train/dog/b.png 1 20");
    assertThat(names(scanned, "test", staging))
        .containsExactly("test/cat/1.png 0 40", "test/dog/1.png 1 50");
  }

  @Test
  void aGzippedTarTravelsAsItIs() throws Exception {
    Path tar = tarFile(IdxFiles.gzip(Pictures.tar(files)));
    ScannedDataset scanned = scan(tar);
    assertThat(scanned.dataset().getFiles(0).getPath()).isEqualTo("pictures.tar.gz");
    assertThat(scanned.localFiles()).containsExactly(tar);
    assertThat(names(scanned, "train", staging)).hasSize(3);
    try (var left = Files.list(staging)) {
      assertThat(left).isEmpty();
    }
  }

  @Test
  void aFolderIsPackedTheSameWayEachTime() throws Exception {
    files.put("train/dog/.DS_Store", NOTE);
    files.put("README.md", NOTE);
    files.put("train/dog/" + "long".repeat(40) + "-é.png", Pictures.png(3, 4, 60, true));
    List<String> phases = new ArrayList<>();
    ScannedDataset first =
        DatasetScanner.scan(
            folder(), null, staging, (what, done, total) -> phases.add(what + done + "/" + total));
    assertThat(phases).contains("packing pictures6/6", "checking pictures6/6");
    assertThat(phases.get(phases.size() - 1)).startsWith("hashing bytes");
    Files.setLastModifiedTime(
        dir.resolve("folder/train/dog/a.png"), java.nio.file.attribute.FileTime.fromMillis(0));
    Path elsewhere = Files.createDirectories(staging.resolve("again"));
    ScannedDataset second =
        DatasetScanner.scan(
            dir.resolve("folder"),
            DatasetFormat.DATASET_FORMAT_IMAGE_FOLDER,
            elsewhere,
            ProgressListener.NONE);
    assertThat(second.dataset()).isEqualTo(first.dataset());
    assertThat(first.dataset().getSplits(0).getSamples()).isEqualTo(4);
    assertThat(names(first, "train", staging))
        .contains("train/dog/" + "long".repeat(40) + "-é.png 1 60");
  }

  @Test
  void leadingDotsAndACommonRootAreTolerated() throws Exception {
    Map<String, byte[]> rooted = new LinkedHashMap<>();
    rooted.put("./", new byte[0]);
    rooted.put("./pets/", new byte[0]);
    rooted.put("./pets/train/", new byte[0]);
    rooted.put("./pets/README", NOTE);
    files.forEach((path, bytes) -> rooted.put("./pets/" + path, bytes));
    assertThat(names(scan(tarFile(Pictures.tar(rooted))), "train", staging))
        .contains("train/cat/z.png 0 30");
  }

  @Test
  void grayPicturesStayGrayOnlyAmongTheirLike() throws Exception {
    files.replaceAll((path, bytes) -> Pictures.png(3, 4, 77, false));
    assertThat(scan(tarFile(Pictures.tar(files))).dataset().getSplits(0).getShapeList())
        .containsExactly(1, 3, 4);
    files.put("test/dog/2.png", Pictures.png(3, 4, 50, true));
    assertThat(scan(tarFile(Pictures.tar(files))).dataset().getSplitsList())
        .extracting(s -> s.getShape(0))
        .containsExactly(3, 3);
  }

  @Test
  void dimensionsThatDifferAreZero() throws Exception {
    files.put("train/cat/tall.png", Pictures.png(9, 4, 1, true));
    assertThat(scan(tarFile(Pictures.tar(files))).dataset().getSplitsList())
        .containsExactly(split("train", 4, 3, 0, 4), split("test", 2, 3, 3, 4));
  }

  private void refuses(byte[] tar, String message) throws IOException {
    Path path = tarFile(tar);
    assertThatThrownBy(
            () ->
                DatasetScanner.scan(
                    path,
                    DatasetFormat.DATASET_FORMAT_IMAGE_FOLDER,
                    staging,
                    ProgressListener.NONE))
        .isInstanceOf(DatasetException.class)
        .hasMessageContaining(message)
        .hasMessageNotContaining("\n");
  }

  @Test
  void pathsThatClimbOutAreRefused() throws IOException {
    files.put("train/../../etc/cat.png", NOTE);
    refuses(Pictures.tar(files), "train/../../etc/cat.png climbs out");
    files.remove("train/../../etc/cat.png");
    files.put("/train/cat/x.png", NOTE);
    refuses(Pictures.tar(files), "/train/cat/x.png is absolute");
  }

  @Test
  void linksAndDevicesAreRefused() throws IOException {
    for (byte type : new byte[] {TarConstants.LF_SYMLINK, TarConstants.LF_LINK}) {
      refuses(special(type), "train/cat/link.png is a link");
    }
    refuses(special(TarConstants.LF_CHR), "train/cat/link.png is no plain file");
    refuses(special(TarConstants.LF_FIFO), "train/cat/link.png is no plain file");
  }

  private static byte[] special(byte type) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (TarArchiveOutputStream tar = new TarArchiveOutputStream(bytes)) {
      TarArchiveEntry entry = new TarArchiveEntry("train/cat/link.png", type);
      entry.setLinkName("/etc/passwd");
      tar.putArchiveEntry(entry);
      tar.closeArchiveEntry();
    }
    return bytes.toByteArray();
  }

  @Test
  void aPictureThatDoesNotDecodeIsNamed() throws IOException {
    byte[] picture = Pictures.png(3, 4, 1, true);
    files.put("test/dog/broken.png", Arrays.copyOf(picture, picture.length / 2));
    refuses(Pictures.tar(files), "test/dog/broken.png does not decode");
    files.put("test/dog/broken.png", NOTE);
    refuses(Pictures.tar(files), "test/dog/broken.png is neither a JPEG nor a PNG");
    files.put("test/dog/broken.png", new byte[0]);
    refuses(Pictures.tar(files), "test/dog/broken.png has 0 bytes");
  }

  @Test
  void everySplitHasTheSameClasses() throws IOException {
    files.put("test/bird/1.png", Pictures.png(3, 4, 1, true));
    refuses(Pictures.tar(files), "train/bird holds no pictures, but test/bird does");
    files.remove("test/bird/1.png");
    files.remove("test/dog/1.png");
    refuses(Pictures.tar(files), "test/dog holds no pictures, but train/dog does");
  }

  @Test
  void emptyClassesAndMissingTrainAreRefused() throws IOException {
    files.put("train/bird/", new byte[0]);
    refuses(Pictures.tar(files), "the class folder train/bird holds no pictures");
    files.clear();
    files.put("val/dog/1.png", Pictures.png(3, 4, 1, true));
    refuses(Pictures.tar(files), "there is no folder train; the top folders are val");
    files.clear();
    files.put("README", NOTE);
    refuses(Pictures.tar(files), "there are no pictures");
  }

  @Test
  void anEmptyClassFolderOnDiskIsRefusedToo() throws IOException {
    files.put("train/bird/", new byte[0]);
    Path folder = folder();
    assertThatThrownBy(() -> scan(folder))
        .isInstanceOf(DatasetException.class)
        .hasMessageContaining("the class folder train/bird holds no pictures");
  }

  @Test
  void picturesMustLieInSplitAndClass() throws IOException {
    files.put("cat.png", NOTE);
    refuses(Pictures.tar(files), "cat.png lies too high");
    files.remove("cat.png");
    files.put("train/cat/more/1.png", NOTE);
    refuses(Pictures.tar(files), "train/cat/more/1.png lies too deep");
    files.remove("train/cat/more/1.png");
    files.put("train/cat/1.gif", NOTE);
    refuses(Pictures.tar(files), "train/cat/1.gif is no .jpg, .jpeg or .png");
    files.remove("train/cat/1.gif");
    files.put("tr ain/cat/1.png", NOTE);
    refuses(Pictures.tar(files), "tr ain is no name for a split");
  }

  @Test
  void aPictureThatIsThereTwiceIsRefused() throws IOException {
    files.put("./train/cat/z.png", Pictures.png(3, 4, 31, true));
    refuses(Pictures.tar(files), "train/cat/z.png is there twice");
  }

  @Test
  void aTarCutShortIsRefused() throws IOException {
    byte[] tar = Pictures.tar(files);
    refuses(Arrays.copyOf(tar, 520), "cut short: it ends within train/dog/b.png");
    refuses(Arrays.copyOf(tar, 1000), "cut short at byte 1000");
    refuses(Arrays.copyOf(tar, 1024), "cut short at byte 1024: it lacks its end");
    refuses(Arrays.copyOf(tar, 100), "cut short");
    tar[512 * 2 + 5] ^= 1;
    refuses(tar, "damaged: there is no tar header at byte 1024");
    refuses(NOTE, "cut short");
  }

  @Test
  void aGzipBombIsRefused() throws IOException {
    files.put("train/dog/c.png", new byte[80 << 20]);
    refuses(IdxFiles.gzip(Pictures.tar(files)), "unpacks to more than the");
  }

  @Test
  void whatIsNothingKnownIsTold() throws IOException {
    Path text = Files.write(dir.resolve("text.txt"), NOTE);
    assertThatThrownBy(() -> scan(text))
        .isInstanceOf(DatasetException.class)
        .hasMessageContaining("no data set that Baton knows");
    assertThatThrownBy(() -> scan(staging))
        .isInstanceOf(DatasetException.class)
        .hasMessageContaining("no data set that Baton knows");
    assertThatThrownBy(() -> scan(dir.resolve("absent")))
        .isInstanceOf(DatasetException.class)
        .hasMessageContaining("absent does not exist");
  }
}
