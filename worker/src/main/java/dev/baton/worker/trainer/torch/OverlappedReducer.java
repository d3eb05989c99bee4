package dev.baton.worker.trainer.torch;

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.bytedeco.pytorch.BoolVector;
import org.bytedeco.pytorch.Reducer;
import org.bytedeco.pytorch.SizeTStringMap;
import org.bytedeco.pytorch.SizeTVector;
import org.bytedeco.pytorch.SizeTVectorVector;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;

/**
 * DistributedDataParallel's own engine: averages gradients over the replicas during the backward
 * pass, bucket by bucket as they become ready. Where gradients have been reset before the backward
 * pass, each is copied into its bucket once, divided on the way, and read there by the optimizer.
 */
final class OverlappedReducer implements AutoCloseable {
  /** DistributedDataParallel's defaults, in bytes: the first bucket is small, to be ready soon. */
  private static final long FIRST_BUCKET = 1 << 20;

  private static final long BUCKET = 25 << 20;

  private final Owned owned = new Owned();
  private final Reducer reducer;
  private final TensorVector everyOutput = owned.keep(new TensorVector());
  private final ReplicaGroup group;
  private final boolean onHost;
  private final long bytes;
  private final ThreadMXBean threads = ManagementFactory.getThreadMXBean();

  OverlappedReducer(ReplicaGroup group, List<Tensor> parameters) {
    this.group = group;
    this.onHost = parameters.stream().noneMatch(Tensor::is_cuda);
    this.bytes = parameters.stream().mapToLong(Tensor::nbytes).sum();
    boolean[] sparse = new boolean[parameters.size()];
    this.reducer =
        owned.keep(
            new Reducer(
                new TensorVector(parameters.toArray(Tensor[]::new)),
                buckets(parameters),
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
    reducer.rebuild_buckets();
    reducer.prepare_for_forward();
  }

  /**
   * The backward pass, which ends with the averages in place. On a host this thread computes it, so
   * that the time in which it does not is that in which it waits for the other replicas; how long a
   * device waits is not known.
   */
  void backward(Tensor loss) {
    reducer.prepare_for_backward(everyOutput);
    long begin = System.nanoTime();
    long computed = threads.getCurrentThreadCpuTime();
    loss.backward();
    long waited = System.nanoTime() - begin - (threads.getCurrentThreadCpuTime() - computed);
    group.account(group.ringBytes(bytes), onHost ? Math.max(0, waited) : 0);
  }

  @Override
  public void close() {
    owned.close();
  }
}
