package dev.baton.worker.data;

import dev.baton.worker.trainer.TrainingException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Makes batches ahead on one thread, in a ring of buffers that are used again.
 *
 * <p>The thread fills the ring, then sleeps until half of it is free again (or the consumer finds
 * it empty), so that waking it costs little even where a step takes microseconds. A slot goes FREE
 * → READY → TAKEN → FREE; its state is volatile and carries the buffers' contents across. Who parks
 * announces it first and then looks again; who changes a state looks for the announcement
 * afterwards: no wake-up is missed.
 *
 * <p>Threads are never interrupted: that would close the files that others read.
 */
abstract class BatchRing implements Batches {
  private static final long RING_BYTES = 32L << 20;
  private static final int MIN_SLOTS = 3;
  private static final int MAX_SLOTS = 64;
  private static final ByteBuffer NOTHING =
      ByteBuffer.allocateDirect(0).order(ByteOrder.nativeOrder());

  private enum State {
    FREE,
    READY,
    TAKEN
  }

  private final SampleSource source;
  private final BatchSequence sequence;
  private final int shards;
  private final ShardRange held;
  private final int maxHeld;
  private final int[] fullBounds;
  private final Slot[] slots;
  private final AtomicInteger free;
  private final Thread producer;

  private volatile boolean closed;
  private volatile boolean producerParked;
  private volatile @Nullable Thread waitingConsumer;
  private volatile @Nullable Throwable failure;

  /** The consumer's: the step that {@link #next} gives next. */
  private long nextStep;

  private volatile long waitedNanos;

  /**
   * @param shards of every batch
   * @param held those whose samples the batches hold
   */
  BatchRing(
      SampleSource source, BatchSequence sequence, int shards, ShardRange held, String threadName) {
    this.source = source;
    this.sequence = sequence;
    this.shards = shards;
    this.held = held;
    this.fullBounds = BatchPlan.shardBounds(sequence.maxSamples(), shards);
    // No shard of a smaller batch is larger.
    this.maxHeld = fullBounds[held.to()] - fullBounds[held.from()];
    this.nextStep = sequence.firstStep();
    SampleFormat format = source.format();
    long batchBytes = Math.max(1L, maxHeld) * Math.max(format.xBytes(), format.yBytes());
    if (batchBytes > Integer.MAX_VALUE) {
      throw TrainingException.userError(
          "a batch of "
              + maxHeld
              + " samples of "
              + format.xBytes()
              + " bytes takes more than 2 GiB; make batch_size smaller");
    }
    int depth = (int) Math.max(MIN_SLOTS, Math.min(MAX_SLOTS, RING_BYTES / batchBytes));
    this.slots = new Slot[depth];
    for (int i = 0; i < depth; i++) {
      slots[i] = new Slot();
    }
    this.free = new AtomicInteger(depth);
    this.producer = new Thread(this::produce, threadName);
    producer.setDaemon(true);
    producer.start();
  }

  @Override
  public @Nullable Batch next() throws InterruptedException {
    if (nextStep > sequence.lastStep()) {
      return null;
    }
    Slot slot = slotOf(nextStep);
    if (slot.state != State.READY) {
      awaitReady(slot);
    }
    nextStep++;
    slot.state = State.TAKEN;
    return slot;
  }

  @Override
  public long waitedNanos() {
    return waitedNanos;
  }

  /** Waits for the thread to end: nothing touches the source afterwards. */
  @Override
  public void close() {
    closed = true;
    LockSupport.unpark(producer);
    boolean interrupted = false;
    while (producer.isAlive()) {
      try {
        producer.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  @SuppressWarnings("NonAtomicVolatileUpdate") // written by the consumer alone
  private void awaitReady(Slot slot) throws InterruptedException {
    long began = System.nanoTime();
    waitingConsumer = Thread.currentThread();
    try {
      while (slot.state != State.READY) {
        if (slot.state == State.TAKEN) {
          throw new IllegalStateException(
              "all " + slots.length + " batches are taken; release one before the next");
        }
        Throwable failed = failure;
        if (failed instanceof TrainingException e) {
          throw e;
        }
        if (failed != null) {
          throw new IllegalStateException("making batches failed", failed);
        }
        if (closed) {
          throw new IllegalStateException("the batches are closed");
        }
        LockSupport.unpark(producer);
        LockSupport.park(this);
        if (Thread.interrupted()) {
          throw new InterruptedException();
        }
      }
    } finally {
      waitingConsumer = null;
      waitedNanos += System.nanoTime() - began;
    }
  }

  private Slot slotOf(long step) {
    return slots[(int) ((step - sequence.firstStep()) % slots.length)];
  }

  private void produce() {
    try {
      for (long step = sequence.firstStep(); step <= sequence.lastStep(); step++) {
        Slot slot = slotOf(step);
        if (!awaitFree(slot)) {
          return;
        }
        slot.fill(step);
        free.decrementAndGet();
        slot.state = State.READY;
        wakeConsumer();
      }
    } catch (Throwable e) { // handed to the consumer, whatever it is
      failure = e;
      wakeConsumer();
    }
  }

  private void wakeConsumer() {
    Thread consumer = waitingConsumer;
    if (consumer != null) {
      LockSupport.unpark(consumer);
    }
  }

  /** False once closed. */
  private boolean awaitFree(Slot slot) {
    if (slot.state == State.FREE) {
      return !closed;
    }
    producerParked = true;
    while (!closed
        && !(slot.state == State.FREE
            && (waitingConsumer != null || 2 * free.get() >= slots.length))) {
      LockSupport.park(this);
    }
    producerParked = false;
    return !closed;
  }

  private final class Slot implements Batch {
    private volatile State state = State.FREE;
    private @Nullable ByteBuffer ownX;
    private @Nullable ByteBuffer ownY;
    private int @Nullable [] inOrder;
    private long step;
    private int samples;
    private int[] bounds = fullBounds;
    private @Nullable ByteBuffer x;
    private @Nullable ByteBuffer y;

    void fill(long filledStep) {
      step = filledStep;
      int all = sequence.samplesOf(step);
      bounds = all == sequence.maxSamples() ? fullBounds : BatchPlan.shardBounds(all, shards);
      samples = bounds[held.to()] - bounds[held.from()];
      if (samples == 0) {
        x = NOTHING;
        y = NOTHING;
        return;
      }
      int position = sequence.positionOf(step) + bounds[held.from()];
      if (!sequence.inOrder()) {
        gather(sequence.order(step), position);
        return;
      }
      SampleSource.Slice view = source.view(position, position + samples);
      if (view != null) {
        x = view.x();
        y = view.y();
        return;
      }
      int[] indices = inOrder;
      if (indices == null) {
        indices = new int[maxHeld];
        inOrder = indices;
      }
      for (int i = 0; i < samples; i++) {
        indices[i] = position + i;
      }
      gather(indices, 0);
    }

    private void gather(int[] indices, int from) {
      ByteBuffer targetX = ownX;
      ByteBuffer targetY = ownY;
      if (targetX == null || targetY == null) {
        targetX = direct(source.format().xBytes());
        targetY = direct(source.format().yBytes());
        ownX = targetX;
        ownY = targetY;
      }
      targetX.clear();
      targetY.clear();
      source.gather(indices, from, from + samples, targetX, targetY);
      x = targetX.flip();
      y = targetY.flip();
    }

    private ByteBuffer direct(int sampleBytes) {
      return ByteBuffer.allocateDirect(maxHeld * sampleBytes).order(ByteOrder.nativeOrder());
    }

    @Override
    public long step() {
      return step;
    }

    @Override
    public int samples() {
      return samples;
    }

    @Override
    public int[] shardBounds() {
      return bounds;
    }

    @Override
    public ShardRange held() {
      return held;
    }

    @Override
    public boolean byIndex() {
      return source.byIndex();
    }

    @Override
    public ByteBuffer x() {
      return taken(x);
    }

    @Override
    public ByteBuffer y() {
      return taken(y);
    }

    private ByteBuffer taken(@Nullable ByteBuffer buffer) {
      if (state != State.TAKEN || buffer == null) {
        throw new IllegalStateException("the batch was released");
      }
      return buffer;
    }

    @Override
    public void release() {
      if (state != State.TAKEN) {
        throw new IllegalStateException("the batch was released before");
      }
      state = State.FREE;
      if (2 * free.incrementAndGet() >= slots.length && producerParked) {
        LockSupport.unpark(producer);
      }
    }
  }
}
