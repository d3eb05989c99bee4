package dev.baton.worker.cache;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import dev.baton.worker.testing.FakeStore;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DatasetCacheTest {
  @TempDir Path dir;
  private final List<String> fetched = new ArrayList<>();
  private final AtomicBoolean taken = new AtomicBoolean();
  private int hours;
  private long diskBytes = 1_000;
  private DatasetCache cache;

  @BeforeEach
  void start() throws IOException {
    cache = new DatasetCache(dir, 100, new Hourly(), () -> diskBytes - used());
  }

  private long used() throws IOException {
    try (Stream<Path> files = Files.walk(dir)) {
      return files.map(Path::toFile).filter(File::isFile).mapToLong(File::length).sum();
    }
  }

  @Test
  void aDataSetIsFetchedOnceAndFoundAfterwards() throws Exception {
    Path at = acquire("a", 40, "train/x", "y");
    assertThat(at.resolve("train/x")).hasSize(20);
    release("a");
    assertThat(acquire("a", 40, "train/x", "y")).isEqualTo(at);
    assertThat(fetched).containsExactly("a/train/x", "a/y");
  }

  @Test
  void whatIsMissingIsFetchedAlone() throws Exception {
    Path at = acquire("a", 40, "x", "y");
    Files.delete(at.resolve("y"));
    Path unused = acquire("a", 40, "x", "y");
    assertThat(fetched).containsExactly("a/x", "a/y", "a/y");
  }

  @Test
  void theLeastRecentlyUsedMakesRoom() throws Exception {
    Path a = acquire("a", 40, "x");
    release("a");
    Path b = acquire("b", 40, "x");
    release("b");
    Path again = acquire("a", 40, "x");
    release("a");
    Path c = acquire("c", 40, "x");
    assertThat(again).isEqualTo(a).exists();
    assertThat(c).exists();
    assertThat(b).doesNotExist();
  }

  @Test
  void whatIsInUseStays() throws Exception {
    Path a = acquire("a", 40, "x");
    Path b = acquire("b", 40, "x");
    assertThatThrownBy(() -> acquire("c", 40, "x"))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("does not fit")
        .hasMessageContaining("--cache-quota");
    assertThat(a).exists();
    assertThat(b).exists();
    release("a");
    assertThat(acquire("c", 40, "x")).exists();
    assertThat(a).doesNotExist();
  }

  @Test
  void whatWasDecodedCountsAndGoesToo() throws Exception {
    Path a = acquire("a", 40, "x");
    Path decoded = Files.write(dir.resolve("decoded/b.samples"), new byte[50]);
    assertThat(acquire("c", 40, "x")).exists();
    assertThat(decoded).doesNotExist();
    assertThat(a).exists();
  }

  @Test
  void whatIsUsedByNobodyMakesRoomOnAFullDiskToo() throws Exception {
    diskBytes = 60;
    Path a = acquire("a", 40, "x");
    release("a");
    assertThat(acquire("b", 40, "x")).exists();
    assertThat(a).doesNotExist();
  }

  @Test
  void whatDoesNotFitOnTheDiskIsNotBegun() throws Exception {
    diskBytes = 60;
    Path a = acquire("a", 40, "x");
    assertThatThrownBy(() -> acquire("b", 40, "x"))
        .isInstanceOf(NoRoomException.class)
        .hasMessageStartingWith("no space left on this worker's disk for data set 'b' (40 bytes)")
        .hasMessageContaining("make room there")
        .hasMessageContaining("--work-dir");
    assertThat(a).exists();
    assertThat(fetched).containsExactly("a/x");
    // What is there already need not fit again.
    Path b = Files.createDirectories(dir.resolve("datasets").resolve(digest("c")));
    Files.write(b.resolve("x.part"), new byte[19]);
    diskBytes = 80;
    assertThat(acquire("c", 40, "x")).isEqualTo(b);
  }

  @Test
  void aDiskThatFillsUpMeanwhileGetsItsRoomBack() throws Exception {
    assertThatThrownBy(
            () ->
                cache.acquire(
                    dataset("a", 40, "x", "y"),
                    (set, file, target) -> {
                      Files.write(target, new byte[20]);
                      if (file.getPath().equals("y")) {
                        throw new IOException(
                            new FileSystemException(target + "", null, "No space left on device"));
                      }
                    }))
        .isInstanceOf(NoRoomException.class)
        .hasMessageStartingWith("no space left on this worker's disk for data set 'a' (40 bytes)");
    assertThat(used()).isZero();
  }

  @Test
  void whatIsHereDoesNotWaitForWhatIsBeingFetched() throws Exception {
    Path here = acquire("here", 40, "x");
    release("here");
    CountDownLatch fetching = new CountDownLatch(1);
    CountDownLatch through = new CountDownLatch(1);
    CompletableFuture<Path> slow =
        CompletableFuture.supplyAsync(
            () -> {
              try {
                return cache.acquire(
                    dataset("slow", 40, "x"),
                    (set, file, target) -> {
                      fetching.countDown();
                      through.await();
                      Files.write(target, new byte[40]);
                    });
              } catch (IOException | InterruptedException e) {
                throw new CompletionException(e);
              }
            });
    fetching.await();
    CompletableFuture<Path> quick =
        CompletableFuture.supplyAsync(
            () -> {
              try {
                return acquire("here", 40, "x");
              } catch (IOException | InterruptedException e) {
                throw new CompletionException(e);
              }
            });
    assertThat(quick.get(30, TimeUnit.SECONDS)).isEqualTo(here);
    assertThat(slow).isNotDone();
    through.countDown();
    assertThat(slow.get(30, TimeUnit.SECONDS)).exists();
    // Both are in use.
    assertThatThrownBy(() -> acquire("c", 40, "x")).hasMessageContaining("does not fit");
  }

  @Test
  void whatIsTakenIntoUseWhileRoomIsMadeStays() throws Exception {
    Path a = acquire("a", 40, "x");
    release("a");
    // Asked once everything that may go has been listed.
    cache =
        new DatasetCache(
            dir,
            1_000,
            new Hourly(),
            () -> {
              takeOnce("a", 40, "x");
              return 0;
            });
    assertThatThrownBy(() -> acquire("b", 40, "x")).isInstanceOf(NoRoomException.class);
    assertThat(a.resolve("x")).exists();
  }

  @Test
  void aFailedFetchLeavesNothingInUse() throws Exception {
    assertThatThrownBy(
            () ->
                cache.acquire(
                    dataset("a", 40, "x"),
                    (set, file, target) -> {
                      throw new IOException("the store does not answer");
                    }))
        .hasMessage("the store does not answer");
  }

  @Test
  void aFileThatLeavesItsFolderIsRefused() {
    assertThatThrownBy(() -> acquire("a", 40, "../../x"))
        .hasMessageContaining("../../x")
        .hasMessageContaining("leaves its folder");
    assertThat(fetched).isEmpty();
  }

  /** Each look at it is an hour later. */
  private final class Hourly extends Clock {
    @Override
    public ZoneOffset getZone() {
      return ZoneOffset.UTC;
    }

    @Override
    public Clock withZone(ZoneId zone) {
      return this;
    }

    @Override
    public Instant instant() {
      return Instant.EPOCH.plusSeconds(3600L * ++hours);
    }
  }

  private Path acquire(String name, long bytes, String... paths)
      throws IOException, InterruptedException {
    return cache.acquire(
        dataset(name, bytes, paths),
        (set, file, target) -> {
          fetched.add(set.getName() + "/" + file.getPath());
          Files.write(target, new byte[(int) file.getBytes()]);
        });
  }

  private void takeOnce(String name, long bytes, String... paths) throws IOException {
    if (taken.compareAndSet(false, true)) {
      try {
        Path unused = acquire(name, bytes, paths);
      } catch (InterruptedException e) {
        throw new IOException(e);
      }
    }
  }

  private void release(String name) {
    cache.release(digest(name));
  }

  private static String digest(String name) {
    return FakeStore.sha256(name.getBytes(StandardCharsets.UTF_8));
  }

  private static Dataset dataset(String name, long bytes, String... paths) {
    Dataset.Builder dataset = Dataset.newBuilder().setName(name).setDigest(digest(name));
    for (String path : paths) {
      dataset.addFiles(DatasetFile.newBuilder().setPath(path).setBytes(bytes / paths.length));
    }
    return dataset.build();
  }
}
