package dev.baton.worker.data;

import dev.baton.dataset.SplitReader;
import dev.baton.v1.AttemptOutcome;
import dev.baton.worker.trainer.TrainingException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileLock;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The pictures of a split through their {@link DecodedFile}, which this process's threads complete
 * while samples are gathered already.
 *
 * <p>A sample that is wanted before it is there is decoded at once, by the caller and by idle
 * builders. In the background one process at a time (it holds the file's build lock) goes through
 * the rest in order; the others look from time to time whether it is still alive.
 */
final class PictureSource implements SampleSource {
  private static final Logger log = LoggerFactory.getLogger(PictureSource.class);
  private static final int CHUNK = 16;

  /** Samples missing from a batch for which sleeping builders are woken. */
  private static final int WORTH_WAKING = 4;

  private static final int WRITE_BYTES = 1 << 20;
  private static final long LOOK_NANOS = 100_000_000;

  private final SampleFormat format;
  private final DecodedFile file;
  private final PictureDecoding decoding;
  private final List<Thread> builders = new ArrayList<>();
  private final ConcurrentLinkedQueue<Demand> demands = new ConcurrentLinkedQueue<>();

  /** Read-locked by whoever uses the reader; write-locked to take it away. */
  private final ReadWriteLock readerLock = new ReentrantReadWriteLock();

  private @Nullable SplitReader reader;

  private final AtomicInteger nextChunk = new AtomicInteger();
  private final AtomicInteger chunksDone = new AtomicInteger();
  private final AtomicBoolean cachingFailed = new AtomicBoolean();
  private volatile @Nullable FileLock buildLock;
  private volatile boolean complete;
  private volatile boolean closed;

  /**
   * Takes over file and reader.
   *
   * @param reader null where the file is complete
   * @param threads that decode
   */
  PictureSource(
      SampleFormat format,
      DecodedFile file,
      PictureDecoding decoding,
      @Nullable SplitReader reader,
      int threads) {
    this.format = format;
    this.file = file;
    this.decoding = decoding;
    this.reader = reader;
    this.complete = reader == null;
    if (!complete) {
      for (int i = 0; i < threads; i++) {
        Thread builder = new Thread(this::build, "decode-" + i);
        builder.setDaemon(true);
        builders.add(builder);
      }
      builders.forEach(Thread::start);
    }
  }

  @Override
  public SampleFormat format() {
    return format;
  }

  @Override
  public long size() {
    return file.samples();
  }

  @Override
  public boolean isComplete() {
    return complete;
  }

  @Override
  public void gather(int[] indices, int from, int to, ByteBuffer x, ByteBuffer y) {
    if (!complete) {
      gatherEarly(indices, from, to, x);
    } else {
      for (int k = from; k < to; k++) {
        file.copySample(indices[k], x);
      }
    }
    int at = y.position();
    for (int k = from; k < to; k++, at += Long.BYTES) {
      y.putLong(at, file.label(indices[k]));
    }
    y.position(at);
  }

  @Override
  public @Nullable Slice view(int from, int to) {
    return complete ? file.view(from, to) : null;
  }

  private void gatherEarly(int[] indices, int from, int to, ByteBuffer x) {
    int[] missing =
        IntStream.range(from, to).map(k -> indices[k]).filter(i -> !file.has(i)).toArray();
    Demand demand = new Demand(missing);
    if (missing.length >= WORTH_WAKING) {
      demands.add(demand);
      builders.forEach(LockSupport::unpark);
    }
    while (demand.decodeOne()) {}
    demands.remove(demand);
    demand.await();
    int next = 0;
    for (int k = from; k < to; k++) {
      int index = indices[k];
      byte[] fresh = null;
      if (next < missing.length && missing[next] == index) {
        fresh = demand.results[next++];
      }
      if (fresh != null) {
        x.put(fresh);
      } else if (file.has(index)) {
        file.copySample(index, x);
      } else {
        throw new IllegalStateException("the source is closed");
      }
    }
  }

  private void build() {
    try {
      while (!closed && !complete) {
        Demand demand = demands.peek();
        if (demand != null) {
          if (!demand.decodeOne()) {
            demands.remove(demand);
          }
        } else if (cachingFailed.get() || !mayBuild() || !buildChunk()) {
          LockSupport.parkNanos(this, LOOK_NANOS);
          if (file.isComplete()) {
            finish();
          }
        }
      }
    } catch (TrainingException e) { // whoever wants the sample meets it again, and reports it
      log.warn("decoding ahead ended: {}", e.getMessage());
    } catch (Throwable e) { // likewise
      log.warn("decoding ahead ended: {}", e.toString(), e);
    }
  }

  private synchronized boolean mayBuild() throws IOException {
    if (buildLock == null && !closed) {
      buildLock = file.tryBuildLock();
    }
    return buildLock != null;
  }

  /** False where no chunk is left. */
  private boolean buildChunk() throws IOException {
    int chunks = (file.samples() + CHUNK - 1) / CHUNK;
    int chunk = nextChunk.getAndIncrement();
    if (chunk >= chunks) {
      nextChunk.set(chunks); // far from overflow, however long the last ones take
      return false;
    }
    int from = chunk * CHUNK;
    int to = Math.min(file.samples(), from + CHUNK);
    for (int run = from; run < to && !closed; ) {
      run = buildRun(run, to);
    }
    if (!closed && !cachingFailed.get() && chunksDone.incrementAndGet() == chunks) {
      file.complete();
      finish();
    }
    return true;
  }

  /** Decodes neighbours that are missing and stores them in one write; gives where to go on. */
  private int buildRun(int from, int to) throws IOException {
    int at = from;
    while (at < to && file.has(at)) {
      at++;
    }
    int first = at;
    ByteBuffer decoded = null;
    while (at < to && !file.has(at) && !closed) {
      byte[] sample = decode(at);
      if (sample == null) {
        return to;
      }
      if (decoded == null) {
        int room = Math.max(1, Math.min(to - at, WRITE_BYTES / sample.length));
        decoded = ByteBuffer.allocate(room * sample.length);
      }
      decoded.put(sample);
      at++;
      if (!decoded.hasRemaining()) {
        break;
      }
    }
    if (decoded != null) {
      store(first, at - first, decoded.flip());
    }
    return at;
  }

  private void store(int from, int count, ByteBuffer bytes) {
    if (cachingFailed.get()) {
      return;
    }
    try {
      file.write(from, count, bytes);
    } catch (IOException e) {
      if (cachingFailed.compareAndSet(false, true)) {
        log.warn("decoded pictures cannot be kept ({}); they are decoded anew each time", e, e);
      }
    }
  }

  /** Null where the reader was taken away: the file is complete, or the source closed. */
  private byte @Nullable [] decode(int index) throws IOException {
    readerLock.readLock().lock();
    try {
      return reader == null ? null : decoding.decode(reader, index);
    } finally {
      readerLock.readLock().unlock();
    }
  }

  /** The file is complete: the reader and what it has unpacked are not needed any more. */
  private void finish() throws IOException {
    complete = true;
    closeReader();
    releaseBuildLock();
  }

  private void closeReader() throws IOException {
    readerLock.writeLock().lock();
    try (SplitReader taken = reader) {
      reader = null;
    } finally {
      readerLock.writeLock().unlock();
    }
  }

  private synchronized void releaseBuildLock() throws IOException {
    FileLock lock = buildLock;
    if (lock != null) {
      buildLock = null;
      lock.release();
    }
  }

  /** Ends decoding; what is decoded stays. */
  @Override
  public void close() {
    closed = true;
    builders.forEach(LockSupport::unpark);
    boolean interrupted = false;
    for (Thread builder : builders) {
      while (builder.isAlive()) {
        try {
          builder.join();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    }
    try {
      releaseBuildLock();
      closeReader();
      file.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** Samples that a gather waits for; whoever has time takes the next. */
  private final class Demand {
    private final int[] indices;
    private final byte[] @Nullable [] results;
    private final AtomicInteger next = new AtomicInteger();
    private final CountDownLatch missing;
    private volatile @Nullable Throwable failure;

    Demand(int[] indices) {
      this.indices = indices;
      this.results = new byte[indices.length][];
      this.missing = new CountDownLatch(indices.length);
    }

    /** False where none is left to take. */
    boolean decodeOne() {
      int i = next.getAndIncrement();
      if (i >= indices.length) {
        return false;
      }
      try {
        byte[] sample = decode(indices[i]);
        results[i] = sample;
        if (sample != null) {
          store(indices[i], 1, ByteBuffer.wrap(sample));
        }
      } catch (Throwable e) { // the gatherer's to throw
        failure = e;
      } finally {
        missing.countDown();
      }
      return true;
    }

    void await() {
      boolean interrupted = false;
      while (missing.getCount() > 0) {
        try {
          missing.await();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
      Throwable failed = failure;
      if (failed instanceof TrainingException e) {
        throw e;
      }
      if (failed instanceof IOException e) {
        throw new TrainingException(
            AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR, "the data set cannot be read: " + e, e);
      }
      if (failed != null) {
        throw new IllegalStateException("decoding failed", failed);
      }
    }
  }
}
