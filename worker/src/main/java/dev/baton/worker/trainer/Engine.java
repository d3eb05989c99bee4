package dev.baton.worker.trainer;

import com.google.protobuf.ByteString;
import dev.baton.worker.data.Batch;
import dev.baton.worker.data.SampleSource;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * The model, its optimizer and the device they live on, as the training run sees them: the port
 * behind which native code stands. One thread calls it. The complete state of a run is {@link
 * #layout} plus the three {@link Sums}.
 */
public interface Engine extends AutoCloseable {

  /** What a source's samples are for. */
  enum Use {
    TRAIN,
    EVAL
  }

  /**
   * Sums that accumulate on the device, in float64, in shard order, and are read only when asked.
   */
  enum Sums {
    /** Since the last log point. */
    LOG,
    /** Since the epoch's begin. */
    EPOCH,
    /** Of the evaluation that runs. */
    EVAL
  }

  /**
   * Values of a {@link Sums}.
   *
   * @param loss the sum over samples of each one's loss; not finite once a loss was not
   * @param correct samples classified right; 0 where the loss is no classification's
   * @param samples how many there were
   */
  record Totals(double loss, double correct, double samples) {
    public static final Totals ZERO = new Totals(0, 0, 0);
  }

  /**
   * How far a replica is when it joins a group.
   *
   * @param position the higher, the further; negative: its state is not whole
   * @param memory what its run holds besides the engine's state
   */
  record Standing(long position, ByteString memory) {}

  /**
   * What a group has cost this replica since it was formed.
   *
   * @param nanos in collectives, waiting for the others included
   * @param bytesSent to the others, without what the protocols add
   */
  record Traffic(long nanos, long bytesSent) {
    public static final Traffic NONE = new Traffic(0, 0);
  }

  /**
   * What results are exact within: CPU model and threads or GPU model and library versions, and the
   * libtorch build.
   */
  String kind();

  /**
   * Every tensor of the state: the state dict in the module's order (parameters and buffers
   * interleaved as Python's {@code state_dict()} has them), then the optimizer's, all of them there
   * from the start (zeros before step 1).
   */
  List<TensorInfo> layout();

  /**
   * Copies the state to host memory: one direct buffer of native byte order for each of {@link
   * #layout}, filled from its position 0. Returns when the copies are whole.
   */
  void copyStateTo(List<ByteBuffer> target);

  /** Replaces the state; the buffers as in {@link #copyStateTo}. */
  void restoreState(List<ByteBuffer> source);

  /**
   * Copies a source onto the device, if that has room to spare for it. From then on batches for
   * this use may come {@link Batch#byIndex by index}, and are the same to the bit. Asking again for
   * a source that is held costs nothing.
   *
   * @param source complete; one whose labels do not fit the model is not taken
   * @return whether the device holds it; an engine on CPUs holds none
   */
  default boolean hold(Use use, SampleSource source) {
    return false;
  }

  /**
   * Forms a group with other engines of the same job, in place of the one it is in, and brings all
   * of them to one state: that of the member that is furthest, sums included. From then on batches
   * hold this replica's {@link dev.baton.worker.data.ShardRange} of shards, evaluations its part of
   * the batches, and every rank makes the same calls. A group of one is no group.
   *
   * @param listening told, on rank 0 of several, the port where the others are awaited; they begin
   *     to connect when it returns, and what it throws ends the attempt to form the group
   * @return where all of them stand: this replica's standing, or that which it has taken over
   * @throws GroupBrokenException where the group cannot be formed; the engine is then in none, and
   *     its state is as it was unless the exception says otherwise
   * @throws TrainingException where no member has a whole state, or rank 0 finds no free port
   */
  default Standing join(Membership membership, Standing mine, IntConsumer listening) {
    throw new UnsupportedOperationException("this engine trains alone");
  }

  /** Of the group that it is in. */
  default Traffic traffic() {
    return Traffic.NONE;
  }

  /** Leaves its group, if it is in one: batches are whole again. */
  default void leave() {}

  /**
   * Any thread's: makes what waits for other replicas in exact mode, or will before the next {@link
   * #leave}, end in {@link GroupBrokenException}, within a second.
   */
  default void abandonGroup() {}

  /**
   * One optimizer step on a global batch, cut into the job's shards by {@link Batch#shardBounds}.
   * Adds to LOG and EPOCH. The batch may be released when this returns.
   *
   * @throws TrainingException for what the user's model and data make fail
   * @throws GroupBrokenException where another replica is lost; the engine is then in no group, and
   *     state and sums are those before the step
   */
  void trainStep(Batch batch);

  /**
   * Adds a batch to EVAL (and to the per-class counts), in eval mode and without gradients. In a
   * group it adds every rank's batch, which may hold no sample.
   *
   * @throws GroupBrokenException where another replica is lost: the evaluation is to be repeated
   */
  void evalBatch(Batch batch);

  /** Reads a sum (waits for the device). */
  Totals read(Sums sums);

  /** Sets a sum, to zero or to what a checkpoint held. */
  void set(Sums sums, Totals totals);

  /**
   * Correct and seen samples of each class since EVAL was last set to zero: {@code [classes][2]};
   * empty for MSE.
   */
  double[][] evalByClass();

  /** The model as a dozen lines of Python that define {@code net}, with this state dict. */
  String pythonModule();

  @Override
  void close();
}
