package dev.baton.worker.trainer;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.MetricPoint;
import dev.baton.worker.cache.LocalDisk;
import dev.baton.worker.checkpoint.CheckpointFile;
import dev.baton.worker.checkpoint.FiniteCheck;
import dev.baton.worker.checkpoint.RunState;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Writes the state of a run to files without stopping the run: the training thread copies it into
 * host memory, and one background thread checks and writes the copy. The buffers are kept from one
 * snapshot to the next, so that a copy meets no page fault; there are two sets at most, and the
 * second is made only where a snapshot is asked for while another is being written.
 */
public final class Snapshots implements AutoCloseable {
  private static final int MAX_SETS = 2;

  /**
   * A snapshot that lies in a file.
   *
   * @param stallNanos how long the training thread was held up
   * @param writeNanos how long the background thread took
   */
  public record Written(
      RunState state,
      Path file,
      List<MetricPoint> points,
      boolean stopped,
      long bytes,
      long stallNanos,
      long writeNanos) {}

  private final Path dir;
  private final List<TensorInfo> layout;
  private final Consumer<Written> sink;
  private final LongSupplier nanoTime;
  private final ExecutorService writer;
  private final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
  private final Deque<List<ByteBuffer>> free = new ArrayDeque<>();
  private final Object telling = new Object();
  private int sets;
  private int taken;

  /** The last snapshot that is not to be told of; guarded by {@link #telling}. */
  private int forgotten;

  /**
   * Writes into a folder.
   *
   * @param sink told of each file, on the background thread, in order
   */
  public Snapshots(
      Path dir, List<TensorInfo> layout, Consumer<Written> sink, LongSupplier nanoTime) {
    this.dir = dir;
    this.layout = List.copyOf(layout);
    this.sink = sink;
    this.nanoTime = nanoTime;
    this.writer =
        Executors.newSingleThreadExecutor(
            task -> {
              Thread thread = new Thread(task, "snapshots");
              thread.setDaemon(true);
              return thread;
            });
    for (TensorInfo tensor : layout) {
      if (tensor.bytes() > Integer.MAX_VALUE) {
        throw TrainingException.userError(
            "tensor '%s' has %d bytes; at most %d are supported"
                .formatted(tensor.name(), tensor.bytes(), Integer.MAX_VALUE));
      }
    }
  }

  /** Makes the first set of buffers in the background, before the first snapshot needs it. */
  public void prepare() {
    writer.execute(
        () -> {
          try {
            release(acquire());
          } catch (Throwable e) {
            failure.compareAndSet(null, e);
          }
        });
  }

  /**
   * Copies the state, holding up the caller for no longer than that (unless two snapshots are being
   * written already), and writes it in the background.
   */
  public void take(Engine engine, RunState state, List<MetricPoint> points, boolean stopped)
      throws InterruptedException {
    long begin = nanoTime.getAsLong();
    List<ByteBuffer> set = acquire();
    engine.copyStateTo(set);
    long stall = nanoTime.getAsLong() - begin;
    int number = ++taken;
    Path file = dir.resolve("checkpoint-%d-%d.safetensors".formatted(state.step(), number));
    writer.execute(
        () -> {
          try {
            write(number, set, file, state, points, stopped, stall);
          } finally {
            release(set);
          }
        });
  }

  /** Of snapshots that were taken and not told of yet, nobody is told. */
  public void forget() {
    synchronized (telling) {
      forgotten = taken;
    }
  }

  /** Throws what the background thread failed with. */
  public void throwFailure() {
    Throwable e = failure.get();
    if (e instanceof RuntimeException runtime) {
      throw runtime;
    }
    if (e instanceof Error error) {
      throw error;
    }
    if (e != null) {
      throw new IllegalStateException(e);
    }
  }

  /** Waits until every snapshot taken so far is written and told. */
  public void drain() throws InterruptedException {
    try {
      writer.submit(() -> {}).get();
    } catch (ExecutionException e) {
      throw new IllegalStateException(e);
    }
    throwFailure();
  }

  /** A set of buffers, one for each tensor of the layout; waits where all are in use. */
  public synchronized List<ByteBuffer> acquire() throws InterruptedException {
    while (free.isEmpty()) {
      if (sets < MAX_SETS) {
        sets++;
        return layout.stream()
            .map(
                tensor ->
                    ByteBuffer.allocateDirect((int) tensor.bytes()).order(ByteOrder.nativeOrder()))
            .toList();
      }
      wait();
    }
    return free.pop();
  }

  /** Gives a set back. */
  public synchronized void release(List<ByteBuffer> set) {
    free.push(set);
    notifyAll();
  }

  @Override
  public void close() {
    writer.shutdownNow();
  }

  private void write(
      int number,
      List<ByteBuffer> set,
      Path file,
      RunState state,
      List<MetricPoint> points,
      boolean stopped,
      long stall) {
    try {
      // A later state than one that could not be written would hide its failure.
      if (failure.get() != null) {
        return;
      }
      long begin = nanoTime.getAsLong();
      requireFinite(layout, set, state.step());
      CheckpointFile.write(file, layout, set, state);
      long bytes = layout.stream().mapToLong(TensorInfo::bytes).sum();
      long took = nanoTime.getAsLong() - begin;
      tell(number, new Written(state, file, points, stopped, bytes, stall, took));
    } catch (IOException e) {
      failure.compareAndSet(
          null,
          new TrainingException(
              AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR,
              LocalDisk.isFull(e)
                  ? LocalDisk.full("the checkpoint of step " + state.step(), dir)
                  : "could not write checkpoint " + file + ": " + e.getMessage(),
              e));
    } catch (Throwable e) {
      failure.compareAndSet(null, e);
    }
  }

  private void tell(int number, Written written) throws IOException {
    synchronized (telling) {
      if (number > forgotten) {
        sink.accept(written);
        return;
      }
    }
    Files.delete(written.file());
  }

  /** A state with NaN or infinity is never written. */
  static void requireFinite(List<TensorInfo> layout, List<ByteBuffer> set, long step) {
    FiniteCheck.firstNotFinite(layout, set)
        .ifPresent(
            name -> {
              throw new TrainingException(
                  AttemptOutcome.ATTEMPT_OUTCOME_NAN_LOSS,
                  "after step %d '%s' holds NaN or infinity; a smaller learning rate may help"
                      .formatted(step, name));
            });
  }
}
