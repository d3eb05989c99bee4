package dev.baton.worker.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import dev.baton.dataset.DatasetDigests;
import dev.baton.dataset.DatasetScanner;
import dev.baton.dataset.Picture;
import dev.baton.dataset.ProgressListener;
import dev.baton.dataset.ScannedDataset;
import dev.baton.dataset.SplitReader;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.LocalDataset;
import dev.baton.v1.Resize;
import dev.baton.v1.Source;
import dev.baton.v1.Transform;
import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.TrainingException;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(120)
class PictureSourceTest {
  private static final int TRAIN = 90;

  @TempDir Path dir;
  @TempDir Path decoded;

  /** Gray 6x5 pictures of one level each: 3 classes of 30 in train, 2 each in test. */
  private LocalDataset pictures() throws Exception {
    Path folder = dir.resolve("folder");
    for (int i = 0; i < TRAIN; i++) {
      write(folder.resolve("train/c" + i / 30 + "/" + String.format("%03d", i) + ".png"), 6, 5, i);
    }
    for (int i = 0; i < 6; i++) {
      write(folder.resolve("test/c" + i / 2 + "/" + i + ".png"), 6, 5, 100 + i);
    }
    return push(folder);
  }

  private static void write(Path file, int height, int width, int level) throws IOException {
    Files.createDirectories(file.resolveSibling(""));
    BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_BYTE_GRAY);
    for (int i = 0; i < height * width; i++) {
      image.getRaster().setSample(i % width, i / width, 0, level);
    }
    ImageIO.write(image, "png", file.toFile());
  }

  private LocalDataset push(Path folder) throws Exception {
    Path staging = dir.resolve("staging");
    ScannedDataset scanned = DatasetScanner.scan(folder, null, staging, ProgressListener.NONE);
    return LocalDataset.newBuilder()
        .setDataset(
            scanned.dataset().toBuilder()
                .setName("pets")
                .setDigest(DatasetDigests.digest(scanned.dataset())))
        .setDir(staging.toString())
        .build();
  }

  private SampleSource open(LocalDataset dataset, String split, Transform... transforms) {
    return SampleSources.open(
        Source.newBuilder().setDataset("pets").setSplit(split).build(),
        List.of(transforms),
        List.of(dataset),
        decoded,
        1);
  }

  private static ByteBuffer buffer(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
  }

  /** Checks that sample i of train is what it should be. */
  private static void check(SampleSource source, int... indices) {
    ByteBuffer x = buffer(30 * indices.length);
    ByteBuffer y = buffer(8 * indices.length);
    source.gather(indices, 0, indices.length, x, y);
    assertThat(x.hasRemaining()).isFalse();
    assertThat(y.hasRemaining()).isFalse();
    for (int k = 0; k < indices.length; k++) {
      assertThat(y.getLong(8 * k)).isEqualTo(indices[k] / 30);
      for (int p = 0; p < 30; p++) {
        assertThat(x.get(30 * k + p)).isEqualTo((byte) indices[k]);
      }
    }
  }

  private static void awaitComplete(SampleSource source) {
    await().atMost(Duration.ofSeconds(60)).until(() -> ((PictureSource) source).isComplete());
  }

  private static final int[] ALL = IntStream.range(0, TRAIN).toArray();

  @Test
  void gathersBeforeAndAfterTheFileIsComplete() throws Exception {
    LocalDataset dataset = pictures();
    try (SampleSource source = open(dataset, "train")) {
      assertThat(source.size()).isEqualTo(TRAIN);
      assertThat(source.format())
          .isEqualTo(
              new SampleFormat(
                  DType.UINT8, List.of(1, 6, 5), DType.INT64, 3, List.of("c0", "c1", "c2")));
      check(source, 89, 0, 45, 0, 17);
      check(source, ALL);
      awaitComplete(source);
      check(source, 89, 0, 45, 0, 17);
      check(source, ALL);
      SampleSource.Slice view = Objects.requireNonNull(source.view(29, 32));
      assertThat(view.x().isDirect()).isTrue();
      assertThat(view.x().limit()).isEqualTo(90);
      assertThat(view.x().get(89)).isEqualTo((byte) 31);
      assertThat(view.y().getLong(0)).isZero();
      assertThat(view.y().getLong(8)).isEqualTo(1);
    }
    // Nothing but the decoded file stays, and it does without the data set's files.
    try (Stream<Path> files = Files.list(decoded)) {
      assertThat(files).hasSize(1);
    }
    Files.delete(dir.resolve("staging/pictures.tar"));
    try (SampleSource source = open(dataset, "train")) {
      assertThat(((PictureSource) source).isComplete()).isTrue();
      check(source, ALL);
    }
  }

  @Test
  void everySplitAndSettingHasItsFile() throws Exception {
    LocalDataset dataset = pictures();
    Transform resize =
        Transform.newBuilder().setResize(Resize.newBuilder().addSize(3).addSize(2)).build();
    try (SampleSource train = open(dataset, "train");
        SampleSource test = open(dataset, "test");
        SampleSource small = open(dataset, "test", resize)) {
      assertThat(small.format().xShape()).containsExactly(1, 3, 2);
      ByteBuffer x = buffer(6);
      small.gather(new int[] {5}, 0, 1, x, buffer(8));
      assertThat(x.get(5)).isEqualTo((byte) 105);
      ByteBuffer large = buffer(30);
      test.gather(new int[] {5}, 0, 1, large, buffer(8));
      assertThat(large.get(29)).isEqualTo((byte) 105);
      awaitComplete(train);
      awaitComplete(test);
      awaitComplete(small);
    }
    try (Stream<Path> files = Files.list(decoded)) {
      assertThat(files).hasSize(3);
    }
  }

  @Test
  void severalSourcesBuildOneFileAtOnce() throws Exception {
    LocalDataset dataset = pictures();
    for (int round = 0; round < 5; round++) {
      try (SampleSource a = open(dataset, "train");
          SampleSource b = open(dataset, "train");
          SampleSource c = open(dataset, "train")) {
        check(b, 88, 2, 3, 4, 5);
        check(c, ALL);
        awaitComplete(a);
        awaitComplete(b);
        awaitComplete(c);
        check(a, ALL);
        check(b, ALL);
      }
      try (Stream<Path> files = Files.list(decoded)) {
        for (Path file : files.toList()) {
          Files.delete(file);
        }
      }
    }
  }

  @Test
  void aReaderTakesOverWhenTheBuilderCloses() throws Exception {
    LocalDataset dataset = pictures();
    SampleSource first = open(dataset, "train");
    try (SampleSource second = open(dataset, "train")) {
      first.close();
      awaitComplete(second);
      check(second, ALL);
    }
  }

  /** Levels of the picture's index; decoding waits where it is told to, and is counted. */
  private static final class Levels implements SplitReader {
    private final @Nullable CountDownLatch gate;
    private final AtomicInteger decodings = new AtomicInteger();
    private final int bad;
    private volatile boolean closed;

    Levels(@Nullable CountDownLatch gate, int bad) {
      this.gate = gate;
      this.bad = bad;
    }

    @Override
    public int size() {
      return TRAIN;
    }

    @Override
    public int label(int index) {
      return index / 30;
    }

    @Override
    public String name(int index) {
      return "picture " + index;
    }

    @Override
    public Picture read(int index) {
      try {
        // The first are the builders' alone.
        if (gate != null && index < 64) {
          gate.await();
        }
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
      if (closed) {
        throw new IllegalStateException("read after close");
      }
      decodings.incrementAndGet();
      byte[] pixels = new byte[index == bad ? 15 : 30];
      java.util.Arrays.fill(pixels, (byte) index);
      return new Picture(1, index == bad ? 3 : 6, 5, pixels);
    }

    @Override
    public void close() {
      closed = true;
    }
  }

  private PictureSource source(Path file, Levels reader) {
    SampleFormat format =
        new SampleFormat(DType.UINT8, List.of(1, 6, 5), DType.INT64, 3, List.of());
    try {
      DecodedFile opened =
          DecodedFile.open(
              file,
              TRAIN,
              30,
              target -> {
                for (int i = 0; i < TRAIN; i++) {
                  target.putLong(reader.label(i));
                }
              });
      return new PictureSource(
          format, opened, new PictureDecoding(1, 6, 5, Resizing.of(List.of())), reader, 2);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void aSampleThatIsWantedComesWhileTheBuildersAreBusyElsewhere() {
    CountDownLatch gate = new CountDownLatch(1);
    Levels reader = new Levels(gate, -1);
    try (PictureSource source = source(decoded.resolve("f"), reader)) {
      check(source, 80, 70, 89);
      check(source, 80, 70, 89);
      assertThat(reader.decodings).hasValue(3);
      gate.countDown();
      awaitComplete(source);
      check(source, ALL);
      assertThat(reader.closed).isTrue();
    }
  }

  @Test
  void whatWasDecodedBeforeAKillIsNotDecodedAgain() throws IOException {
    Path file = decoded.resolve("f");
    try (DecodedFile half = DecodedFile.open(file, TRAIN, 30, PictureSourceTest::labels)) {
      for (int i = 0; i < 40; i++) {
        byte[] pixels = new byte[30];
        java.util.Arrays.fill(pixels, (byte) i);
        half.write(i, 1, ByteBuffer.wrap(pixels));
      }
    }
    // Half-written and not marked: the bytes of sample 40 are wrong.
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.allocate(20), channel.size() - (TRAIN - 40) * 30);
    }
    Levels reader = new Levels(null, -1);
    try (PictureSource source = source(file, reader)) {
      awaitComplete(source);
      check(source, ALL);
      assertThat(reader.decodings).hasValue(50);
    }
  }

  private static void labels(ByteBuffer target) {
    for (int i = 0; i < TRAIN; i++) {
      target.putLong(i / 30);
    }
  }

  @Test
  void aFileThatCannotBeTrustedIsMadeAnew() throws IOException {
    Path file = decoded.resolve("f");
    for (int damage = 0; damage < 4; damage++) {
      try (DecodedFile begun = DecodedFile.open(file, TRAIN, 30, PictureSourceTest::labels)) {
        begun.write(7, 1, ByteBuffer.allocate(30)); // not sample 7's bytes
      }
      try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
        switch (damage) {
          case 0 -> channel.write(ByteBuffer.wrap(new byte[] {9}), 0); // magic
          case 1 -> channel.write(ByteBuffer.wrap(new byte[] {'X'}), 32); // another boot
          case 2 -> channel.truncate(5000);
          default -> channel.write(ByteBuffer.wrap(new byte[] {1}), 8); // samples
        }
      }
      assertThat(DecodedFile.openExisting(file, TRAIN, 30)).isNull();
      try (PictureSource source = source(file, new Levels(null, -1))) {
        check(source, ALL);
        awaitComplete(source);
      }
      Files.delete(file);
    }
  }

  @Test
  void completenessOutlivesTheBoot() throws IOException {
    Path file = decoded.resolve("f");
    try (PictureSource source = source(file, new Levels(null, -1))) {
      awaitComplete(source);
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.wrap(new byte[] {'X'}), 32);
    }
    try (DecodedFile again = Objects.requireNonNull(DecodedFile.openExisting(file, TRAIN, 30))) {
      assertThat(again.isComplete()).isTrue();
    }
  }

  @Test
  void aPictureOfAnotherShapeEndsTheGather() {
    try (PictureSource source = source(decoded.resolve("f"), new Levels(null, 33))) {
      check(source, 1, 2, 3, 4, 5);
      assertThatThrownBy(() -> check(source, ALL))
          .isInstanceOf(TrainingException.class)
          .hasMessage(
              "picture 33 is 1x3x5, others are 1x6x5; add a resize to data.transforms:"
                  + " {resize: {size: [6, 5]}}");
      check(source, 80);
    }
  }

  @Test
  void picturesOfDifferingSizeNeedAResize() throws Exception {
    write(dir.resolve("folder/train/a/1.png"), 6, 5, 1);
    write(dir.resolve("folder/train/a/2.png"), 6, 5, 2);
    write(dir.resolve("folder/train/a/3.png"), 7, 5, 3);
    LocalDataset dataset = push(dir.resolve("folder"));
    assertThatThrownBy(() -> open(dataset, "train"))
        .isInstanceOf(TrainingException.class)
        .hasMessageContaining("train/a/1.png is 6x5, train/a/3.png 7x5")
        .hasMessageContaining("{resize: {size: [6, 5]}}");
    Transform resize =
        Transform.newBuilder().setResize(Resize.newBuilder().addSize(4).addSize(4)).build();
    try (SampleSource source = open(dataset, "train", resize)) {
      ByteBuffer x = buffer(48);
      source.gather(new int[] {0, 1, 2}, 0, 3, x, buffer(24));
      assertThat(x.get(47)).isEqualTo((byte) 3);
    }
  }

  @Test
  void whatIsNotThereIsNamed() throws Exception {
    LocalDataset dataset = pictures();
    assertThatThrownBy(() -> open(dataset, "val"))
        .isInstanceOf(TrainingException.class)
        .hasMessage("data set pets: there is no split \"val\"; it has train, test");
    assertThatThrownBy(() -> open(dataset.toBuilder().setDir("/nowhere").build(), "train"))
        .isInstanceOf(TrainingException.class)
        .hasMessageContaining("data set pets cannot be opened")
        .extracting(e -> ((TrainingException) e).outcome())
        .isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR);
    LocalDataset.Builder wrong = dataset.toBuilder();
    wrong.getDatasetBuilder().getSplitsBuilder(0).setClasses(2);
    assertThatThrownBy(() -> open(wrong.build(), "train"))
        .isInstanceOf(TrainingException.class)
        .hasMessageContaining("train/c2/060.png has label 2");
    assertThatThrownBy(
            () ->
                SampleSources.open(
                    Source.newBuilder().setDataset("cats").setSplit("train").build(),
                    List.of(),
                    List.of(dataset),
                    decoded,
                    1))
        .isInstanceOf(TrainingException.class)
        .hasMessage("data set cats is not staged here");
  }
}
