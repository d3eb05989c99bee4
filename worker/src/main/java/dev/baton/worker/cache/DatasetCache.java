package dev.baton.worker.cache;

import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.time.Clock;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Data sets on this machine's disk, by digest, under a quota. Each lies in a folder of its own;
 * what is used by no job and was used the longest ago goes first. Files that trainers decoded count
 * against the quota too, and go likewise.
 *
 * <pre>
 * ROOT/datasets/DIGEST/PATH...
 * ROOT/datasets/old-...       being deleted
 * ROOT/decoded/...            may go at any time: what a trainer has mapped stays until it ends
 * </pre>
 *
 * <p>Any number of threads may use it; data sets are fetched one at a time, and what is here is had
 * at once.
 */
public final class DatasetCache {
  private static final Logger log = LoggerFactory.getLogger(DatasetCache.class);
  private static final Pattern DIGEST = Pattern.compile("[0-9a-f]{64}");

  /** Gets one file of a data set, verified; resumes what it began before. */
  @FunctionalInterface
  public interface Fetch {
    void fetch(Dataset dataset, DatasetFile file, Path target)
        throws IOException, InterruptedException;
  }

  /** What is left of the disk, in bytes. */
  @FunctionalInterface
  interface Disk {
    long usableBytes() throws IOException;
  }

  private final Path datasets;
  private final Path decoded;
  private final long quotaBytes;
  private final Clock clock;
  private final Disk disk;
  private final Map<String, Integer> uses = new HashMap<>();
  // Held while fetching; the counts have their own lock, so that letting go never waits for it.
  private final Object staging = new Object();

  /**
   * @param clock stamps what is used, for people's time: it outlives the process
   */
  public DatasetCache(Path root, long quotaBytes, Clock clock) throws IOException {
    this(root, quotaBytes, clock, () -> LocalDisk.usableBytes(root));
  }

  DatasetCache(Path root, long quotaBytes, Clock clock, Disk disk) throws IOException {
    this.datasets = Files.createDirectories(root.resolve("datasets"));
    this.decoded = Files.createDirectories(root.resolve("decoded"));
    this.quotaBytes = quotaBytes;
    this.clock = clock;
    this.disk = disk;
  }

  /** Where trainers share what they decoded. */
  public Path decodedDir() {
    return decoded;
  }

  /**
   * Brings a data set here, or finds it here, and keeps it until {@link #release}.
   *
   * @return the folder that holds its files
   * @throws IOException where it cannot be fetched, or does not fit; nothing is kept in use then
   */
  public Path acquire(Dataset dataset, Fetch fetch) throws IOException, InterruptedException {
    String digest = dataset.getDigest();
    if (!DIGEST.matcher(digest).matches()) {
      throw new IOException("data set '" + dataset.getName() + "' has no digest: '" + digest + "'");
    }
    synchronized (uses) {
      uses.merge(digest, 1, Integer::sum);
    }
    boolean staged = false;
    try {
      Path dir = datasets.resolve(digest);
      if (!complete(dataset, dir)) {
        synchronized (staging) {
          Files.createDirectories(dir);
          if (!complete(dataset, dir)) {
            makeRoom(dataset);
            fetch(dataset, dir, fetch);
          }
        }
      }
      Files.setLastModifiedTime(dir, FileTime.from(clock.instant()));
      staged = true;
      return dir;
    } finally {
      if (!staged) {
        release(digest);
      }
    }
  }

  private void fetch(Dataset dataset, Path dir, Fetch fetch)
      throws IOException, InterruptedException {
    try {
      for (DatasetFile file : dataset.getFilesList()) {
        Path target = inside(dir, file.getPath());
        if (!whole(file, target)) {
          Files.createDirectories(parent(target));
          fetch.fetch(dataset, file, target);
        }
      }
    } catch (IOException e) {
      if (!LocalDisk.isFull(e)) {
        throw e;
      }
      // Others wrote meanwhile. Running jobs need what is left more than this one needs its start.
      Trees.delete(dir);
      throw new NoRoomException(LocalDisk.full(label(dataset), datasets), e);
    }
  }

  private static String label(Dataset dataset) {
    return "data set '%s' (%d bytes)".formatted(dataset.getName(), bytes(dataset));
  }

  private static long bytes(Dataset dataset) {
    return dataset.getFilesList().stream().mapToLong(DatasetFile::getBytes).sum();
  }

  /** Ends one use. */
  public void release(String digest) {
    synchronized (uses) {
      uses.computeIfPresent(digest, (d, n) -> n == 1 ? null : n - 1);
    }
  }

  private static boolean complete(Dataset dataset, Path dir) throws IOException {
    if (!Files.isDirectory(dir)) {
      return false;
    }
    for (DatasetFile file : dataset.getFilesList()) {
      if (!whole(file, inside(dir, file.getPath()))) {
        return false;
      }
    }
    return true;
  }

  // A file gets its name only once its digest was verified.
  private static boolean whole(DatasetFile file, Path target) throws IOException {
    return Files.isRegularFile(target) && Files.size(target) == file.getBytes();
  }

  private static Path inside(Path dir, String path) throws IOException {
    Path target = dir.resolve(path).normalize();
    if (path.isEmpty() || !target.startsWith(dir) || target.equals(dir)) {
      throw new IOException("a data set's file is named '" + path + "', which leaves its folder");
    }
    return target;
  }

  private static Path parent(Path target) throws IOException {
    Path parent = target.getParent();
    if (parent == null) {
      throw new NoSuchFileException(target.toString());
    }
    return parent;
  }

  /** One thing that may be deleted. */
  private record Entry(Path path, long bytes, FileTime lastUsed) {}

  private void makeRoom(Dataset dataset) throws IOException {
    long wanted = bytes(dataset);
    if (wanted > quotaBytes) {
      throw tooBig(dataset);
    }
    List<Entry> entries = new ArrayList<>();
    entries(datasets, entries);
    entries(decoded, entries);
    Path own = datasets.resolve(dataset.getDigest());
    long missing = wanted - size(own);
    long present =
        entries.stream().filter(e -> !e.path().equals(own)).mapToLong(Entry::bytes).sum();
    entries.sort(Comparator.comparing(Entry::lastUsed));
    for (Entry entry : entries) {
      if (present + wanted <= quotaBytes && missing <= disk.usableBytes()) {
        break;
      }
      if (discard(entry)) {
        log.info(
            "{} ({} bytes) makes room for data set '{}'",
            entry.path(),
            entry.bytes(),
            dataset.getName());
        present -= entry.bytes();
      }
    }
    if (present + wanted > quotaBytes) {
      throw tooBig(dataset);
    }
    if (missing > disk.usableBytes()) {
      throw new NoRoomException(LocalDisk.full(label(dataset), datasets), null);
    }
  }

  // False where it is in use, perhaps since a moment ago. It goes out of the way in one step:
  // nobody finds it whole while it is deleted.
  private boolean discard(Entry entry) throws IOException {
    Path old = entry.path().resolveSibling("old-" + UUID.randomUUID());
    synchronized (uses) {
      if (uses.containsKey(String.valueOf(entry.path().getFileName()))) {
        return false;
      }
      try {
        Files.move(entry.path(), old, StandardCopyOption.ATOMIC_MOVE);
      } catch (NoSuchFileException e) {
        // Trainers come and go in the decoded folder.
        return true;
      }
    }
    Trees.delete(old);
    return true;
  }

  private IOException tooBig(Dataset dataset) {
    return new NoRoomException(
        "%s does not fit into the cache's quota of %d bytes beside what running jobs use; a larger --cache-quota would do"
            .formatted(label(dataset), quotaBytes),
        null);
  }

  private void entries(Path folder, List<Entry> entries) throws IOException {
    try (Stream<Path> children = Files.list(folder)) {
      for (Path child : (Iterable<Path>) children::iterator) {
        entries.add(new Entry(child, size(child), Files.getLastModifiedTime(child)));
      }
    }
  }

  private static long size(Path tree) throws IOException {
    long[] bytes = new long[1];
    Files.walkFileTree(
        tree,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
            bytes[0] += attributes.size();
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult visitFileFailed(Path file, IOException e) {
            // Trainers come and go in the decoded folder.
            return FileVisitResult.CONTINUE;
          }
        });
    return bytes[0];
  }
}
