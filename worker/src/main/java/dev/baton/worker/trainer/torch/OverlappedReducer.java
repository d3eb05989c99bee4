package dev.baton.worker.trainer.torch;

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.bytedeco.pytorch.BoolVector;
import org.bytedeco.pytorch.Reducer;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.SizeTStringMap;
import org.bytedeco.pytorch.SizeTVector;
import org.bytedeco.pytorch.SizeTVectorVector;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/**
 * DistributedDataParallel's own engine: averages gradients over the replicas during the backward
 * pass, bucket by bucket as they become ready. Where gradients have been reset before the backward
 * pass, each is copied into its bucket once, divided on the way, and read there by the optimizer.
 */
final class OverlappedReducer implements AutoCloseable {
  /** DistributedDataParallel's defaults, in bytes: the first bucket is small, to be ready soon. */
  private static final long FIRST_BUCKET = 1 << 20;

  private static final long BUCKET = 25 << 20;

  /**
   * How long a member may be silent where steps are short: a backward pass that waits for others
   * cannot be told to end, and one that was merely slow costs no more than another group. The
   * group's own limit holds until the first step, slow for reasons of its own, is done.
   */
  private static final Duration LEAST_SILENCE = Duration.ofSeconds(10);

  private static final int STEPS_OF_SILENCE = 20;

  private final Owned owned = new Owned();

  /**
   * A parameter of its own, whose gradient is what this replica tells of the step, so that it is
   * summed along with the others: a collective by itself would cost small models more than the
   * gradients' own.
   */
  private final Tensor report;

  /** Loss and correct answers of this replica's samples, as {@link #report}'s gradient. */
  private final Tensor told;

  private final StepReports.Part part;
  private final Reducer reducer;
  private final TensorVector everyOutput = owned.keep(new TensorVector());
  private final ReplicaGroup group;
  private final boolean onHost;
  private final long bytes;
  private final ThreadMXBean threads = ManagementFactory.getThreadMXBean();
  private long stepBegan;
  private Duration silence = Duration.ZERO;

  OverlappedReducer(ReplicaGroup group, List<Tensor> parameters) {
    this.group = group;
    this.onHost = parameters.stream().noneMatch(Tensor::is_cuda);
    TensorOptions options = new TensorOptions(parameters.get(0).device());
    this.report = owned.keep(torch.zeros(new long[] {2}, options)).set_requires_grad(true);
    this.told = owned.keep(torch.zeros(new long[] {2}, options));
    this.part = new StepReports.Part(owned.keep(told.select(0, 0)), owned.keep(told.select(0, 1)));
    List<Tensor> reduced = new ArrayList<>(parameters);
    reduced.add(report);
    this.bytes = reduced.stream().mapToLong(Tensor::nbytes).sum();
    boolean[] sparse = new boolean[reduced.size()];
    this.reducer =
        owned.keep(
            new Reducer(
                new TensorVector(reduced.toArray(Tensor[]::new)),
                buckets(reduced),
                group.processGroup(),
                new BoolVector(sparse),
                BUCKET,
                false,
                true,
                new SizeTStringMap(),
                FIRST_BUCKET,
                false,
                false));
  }

  /** The last layers' gradients are ready first. */
  private static SizeTVectorVector buckets(List<Tensor> parameters) {
    List<SizeTVector> buckets = new ArrayList<>();
    List<Long> bucket = new ArrayList<>();
    long bytes = 0;
    List<Integer> order = new ArrayList<>();
    for (int i = 0; i < parameters.size(); i++) {
      order.add(i);
    }
    Collections.reverse(order);
    for (int i : order) {
      bucket.add((long) i);
      bytes += parameters.get(i).nbytes();
      if (bytes >= (buckets.isEmpty() ? FIRST_BUCKET : BUCKET)) {
        buckets.add(vector(bucket));
        bucket.clear();
        bytes = 0;
      }
    }
    if (!bucket.isEmpty()) {
      buckets.add(vector(bucket));
    }
    return new SizeTVectorVector(buckets.toArray(SizeTVector[]::new));
  }

  private static SizeTVector vector(List<Long> indices) {
    return new SizeTVector(indices.stream().mapToLong(Long::longValue).toArray());
  }

  /** Before the forward pass; the first time after a backward pass, orders buckets by readiness. */
  void beforeForward() {
    stepBegan = System.nanoTime();
    reducer.rebuild_buckets();
    reducer.prepare_for_forward();
  }

  /** Where loss and correct answers of this replica's samples are to be noted. */
  StepReports.Part part() {
    return part;
  }

  /**
   * The backward pass, which ends with the sums of the replicas' gradients in place. On a host this
   * thread computes it, so that the time in which it does not is that in which it waits for the
   * other replicas; how long a device waits is not known.
   *
   * @param loss this replica's part of the batch's mean loss
   */
  void backward(Tensor loss) {
    // The sum over the batch's samples is the average of so many times the parts.
    Tensor reduced = loss.add(report.mul(told).sum()).mul(new Scalar((double) group.size()));
    reducer.prepare_for_backward(everyOutput);
    long begin = System.nanoTime();
    long computed = threads.getCurrentThreadCpuTime();
    reduced.backward();
    long waited = System.nanoTime() - begin - (threads.getCurrentThreadCpuTime() - computed);
    group.account(group.ringBytes(bytes), onHost ? Math.max(0, waited) : 0);
  }

  /**
   * Adds what all replicas told of the step, after its backward pass.
   *
   * @param samples of the batch
   */
  void addTo(RunningSums sums, int samples) {
    Tensor sum = report.grad();
    sums.addTrained(sum.select(0, 0), sum.select(0, 1).round_(), samples, samples);
    forget();
  }

  /** Before the next step, where this one came to nothing. */
  void forget() {
    report.mutable_grad().reset();
  }

  /** The step's collectives have ended: what it took tells how long those of the next may wait. */
  void stepDone() {
    Duration steps = Duration.ofNanos(System.nanoTime() - stepBegan).multipliedBy(STEPS_OF_SILENCE);
    Duration allowed = steps.compareTo(LEAST_SILENCE) > 0 ? steps : LEAST_SILENCE;
    if (!allowed.equals(silence)) {
      silence = allowed;
      group.silentAtMost(allowed);
    }
  }

  @Override
  public void close() {
    owned.close();
  }
}
