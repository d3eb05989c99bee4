package dev.baton.worker.data;

import java.io.Closeable;
import java.io.IOException;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.jspecify.annotations.Nullable;

/**
 * The decoded samples of one split in a file that every trainer of this machine maps.
 *
 * <pre>
 * 0        header: magic, version, samples, bytes of a sample, complete or not, boot id
 * 4096     labels, int64 each
 * then     one byte for each sample: 1 once it is there
 * then     (from a multiple of 4096) the samples, one after the other
 * </pre>
 *
 * <p>Samples are written by {@code pwrite} (a full disk is then an error instead of a SIGBUS), and
 * marked afterwards. Whoever writes a sample writes the same bytes, so that processes may do it at
 * once; killing one leaves a sample that is not marked. What a crash of the whole machine leaves is
 * not trusted: an incomplete file counts only within the boot that it was begun in, and
 * completeness is noted after all else was forced to the disk.
 *
 * <p>Any number of threads may use it.
 */
final class DecodedFile implements Closeable {
  private static final long MAGIC = 0x4465636F64656431L;
  private static final int HEADER_BYTES = 4096;
  private static final int PAGE = 4096;
  private static final long SEGMENT_BYTES = 1L << 30;

  private static final int SAMPLES_AT = 8;
  private static final int SAMPLE_BYTES_AT = 16;
  private static final int COMPLETE_AT = 24;
  private static final int BOOT_AT = 32;
  private static final int BOOT_BYTES = 64;

  /** Bytes of the file that are locked, far beyond its end: nothing is stored there. */
  private static final long CREATION_LOCK = Long.MAX_VALUE - 2;

  private static final long BUILD_LOCK = Long.MAX_VALUE - 1;

  private final FileChannel channel;
  private final int samples;
  private final int sampleBytes;
  private final MappedByteBuffer head;
  private final ByteBuffer labels;
  private final int statesAt;
  private final long dataAt;
  private final int samplesPerSegment;
  private final ByteBuffer[] segments;

  /** Where the labels of a file that must be made come from. */
  interface Labels {
    /** Fills {@code samples} int64 in native byte order. */
    void write(ByteBuffer target) throws IOException;
  }

  private DecodedFile(FileChannel channel, int samples, int sampleBytes) throws IOException {
    this.channel = channel;
    this.samples = samples;
    this.sampleBytes = sampleBytes;
    this.statesAt = statesAt(samples);
    this.dataAt = dataAt(samples);
    this.head = channel.map(MapMode.READ_WRITE, 0, statesAt + (long) samples);
    head.order(ByteOrder.nativeOrder());
    this.labels = head.slice(HEADER_BYTES, 8 * samples).order(ByteOrder.nativeOrder());
    this.samplesPerSegment = (int) Math.min(samples, SEGMENT_BYTES / sampleBytes);
    this.segments = new ByteBuffer[(samples + samplesPerSegment - 1) / samplesPerSegment];
    for (int s = 0; s < segments.length; s++) {
      long from = (long) s * samplesPerSegment;
      long count = Math.min(samplesPerSegment, samples - from);
      segments[s] =
          channel
              .map(MapMode.READ_ONLY, dataAt + from * sampleBytes, count * sampleBytes)
              .order(ByteOrder.nativeOrder());
    }
  }

  /** Opens the file; null where there is none that can be trusted. */
  static @Nullable DecodedFile openExisting(Path path, int samples, int sampleBytes)
      throws IOException {
    if (!Files.exists(path)) {
      return null;
    }
    FileChannel channel = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE);
    try {
      if (isValid(channel, samples, sampleBytes)) {
        return new DecodedFile(channel, samples, sampleBytes);
      }
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
    channel.close();
    return null;
  }

  /** Opens the file, making an empty one where there is none that can be trusted. */
  static synchronized DecodedFile open(Path path, int samples, int sampleBytes, Labels labels)
      throws IOException {
    FileChannel channel =
        FileChannel.open(
            path, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
    try {
      FileLock lock = channel.lock(CREATION_LOCK, 1, false);
      try {
        if (!isValid(channel, samples, sampleBytes)) {
          createOrLeaveNothing(channel, samples, sampleBytes, labels);
        }
      } finally {
        lock.release();
      }
      return new DecodedFile(channel, samples, sampleBytes);
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  private static void createOrLeaveNothing(
      FileChannel channel, int samples, int sampleBytes, Labels labels) throws IOException {
    boolean created = false;
    try {
      create(channel, samples, sampleBytes, labels);
      created = true;
    } finally {
      if (!created) {
        channel.truncate(0);
      }
    }
  }

  private static void create(FileChannel channel, int samples, int sampleBytes, Labels labels)
      throws IOException {
    channel.truncate(0);
    // States and labels are written out, not left as a hole: they are changed through the mapping,
    // where a full disk would be a SIGBUS.
    int block = 1 << 20;
    ByteBuffer zeros = ByteBuffer.allocateDirect(block);
    long dataAt = dataAt(samples);
    for (long at = 0; at < dataAt; at += block) {
      zeros.clear().limit((int) Math.min(block, dataAt - at));
      writeAll(channel, zeros, at);
    }
    writeAll(channel, ByteBuffer.allocate(1), dataAt + (long) samples * sampleBytes - 1);
    ByteBuffer labelBytes = ByteBuffer.allocateDirect(8 * samples).order(ByteOrder.nativeOrder());
    labels.write(labelBytes);
    writeAll(channel, labelBytes.flip(), HEADER_BYTES);
    ByteBuffer header = ByteBuffer.allocate(HEADER_BYTES).order(ByteOrder.nativeOrder());
    header.putLong(SAMPLES_AT, samples).putLong(SAMPLE_BYTES_AT, sampleBytes);
    header.put(BOOT_AT, bootId());
    writeAll(channel, header, 0);
    header.putLong(0, MAGIC);
    writeAll(channel, header.limit(8).position(0), 0);
  }

  private static boolean isValid(FileChannel channel, int samples, int sampleBytes)
      throws IOException {
    if (channel.size() != dataAt(samples) + (long) samples * sampleBytes) {
      return false;
    }
    ByteBuffer header = ByteBuffer.allocate(BOOT_AT + BOOT_BYTES).order(ByteOrder.nativeOrder());
    while (header.hasRemaining() && channel.read(header, header.position()) >= 0) {}
    byte[] boot = new byte[BOOT_BYTES];
    header.get(BOOT_AT, boot);
    return header.getLong(0) == MAGIC
        && header.getLong(SAMPLES_AT) == samples
        && header.getLong(SAMPLE_BYTES_AT) == sampleBytes
        && (header.getInt(COMPLETE_AT) == 1 || java.util.Arrays.equals(boot, bootId()));
  }

  /** Differs after a crash of the machine. */
  private static byte[] bootId() throws IOException {
    Path linux = Path.of("/proc/sys/kernel/random/boot_id");
    byte[] id = new byte[BOOT_BYTES];
    if (Files.exists(linux)) {
      byte[] read =
          Files.readString(linux, StandardCharsets.US_ASCII)
              .strip()
              .getBytes(StandardCharsets.US_ASCII);
      System.arraycopy(read, 0, id, 0, Math.min(read.length, id.length));
    }
    return id;
  }

  private static int statesAt(int samples) {
    return Math.addExact(HEADER_BYTES, Math.multiplyExact(8, samples));
  }

  private static long dataAt(int samples) {
    long end = statesAt(samples) + (long) samples;
    return (end + PAGE - 1) / PAGE * PAGE;
  }

  /** The size of such a file. */
  static long bytes(int samples, int sampleBytes) {
    return dataAt(samples) + (long) samples * sampleBytes;
  }

  private static void writeAll(FileChannel channel, ByteBuffer bytes, long position)
      throws IOException {
    long at = position;
    while (bytes.hasRemaining()) {
      at += channel.write(bytes, at);
    }
  }

  int samples() {
    return samples;
  }

  boolean isComplete() {
    boolean complete = head.getInt(COMPLETE_AT) == 1;
    VarHandle.acquireFence();
    return complete;
  }

  boolean has(int index) {
    boolean there = head.get(statesAt + index) == 1;
    VarHandle.acquireFence();
    return there;
  }

  /** Stores samples [from, from + count), whose bytes remain in the buffer, and marks them. */
  void write(int from, int count, ByteBuffer bytes) throws IOException {
    writeAll(channel, bytes, dataAt + (long) from * sampleBytes);
    VarHandle.releaseFence();
    for (int i = from; i < from + count; i++) {
      head.put(statesAt + i, (byte) 1);
    }
  }

  /** Notes that every sample is there. Returns when that would survive a crash of the machine. */
  void complete() throws IOException {
    channel.force(true);
    head.force();
    head.putInt(COMPLETE_AT, 1);
    head.force(0, HEADER_BYTES);
  }

  /**
   * The right to build the file, until closed or until the process ends; null where it is taken.
   */
  @Nullable FileLock tryBuildLock() throws IOException {
    try {
      return channel.tryLock(BUILD_LOCK, 1, false);
    } catch (OverlappingFileLockException e) {
      return null; // another source in this process has it
    }
  }

  long label(int index) {
    return labels.getLong(8 * index);
  }

  /** Copies a sample behind the target's position and moves that. */
  void copySample(int index, ByteBuffer target) {
    int at = target.position();
    target.put(
        at,
        segments[index / samplesPerSegment],
        index % samplesPerSegment * sampleBytes,
        sampleBytes);
    target.position(at + sampleBytes);
  }

  /** Samples [from, to) where they lie; null where two segments share them. */
  SampleSource.@Nullable Slice view(int from, int to) {
    int segment = from / samplesPerSegment;
    if (segment != (to - 1) / samplesPerSegment) {
      return null;
    }
    ByteBuffer x =
        segments[segment].slice(from % samplesPerSegment * sampleBytes, (to - from) * sampleBytes);
    ByteBuffer y = labels.slice(8 * from, 8 * (to - from));
    return new SampleSource.Slice(
        x.order(ByteOrder.nativeOrder()), y.order(ByteOrder.nativeOrder()));
  }

  /** What was mapped stays valid until it is collected. */
  @Override
  public void close() throws IOException {
    channel.close();
  }
}
