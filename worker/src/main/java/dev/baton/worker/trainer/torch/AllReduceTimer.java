package dev.baton.worker.trainer.torch;

import dev.baton.worker.data.ShardRange;
import dev.baton.worker.trainer.Membership;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.DeviceType;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Measures how long it takes to add a vector of each replica, as a step does it. */
public final class AllReduceTimer {
  private static final int WARM_UP = 3;

  private AllReduceTimer() {}

  /**
   * Forms a group and adds vectors, one shard's of each replica, in turns with a barrier.
   *
   * @param floats of a vector
   * @param steps to measure
   * @param exact along the shards' tree; else c10d's own sum
   * @param listening told the store's port, on rank 0
   * @return nanoseconds of each
   */
  public static long[] run(
      Membership membership, long floats, int steps, boolean exact, IntConsumer listening) {
    long[] nanos = new long[steps];
    try (PointerScope scope = new PointerScope();
        NoGradGuard none = new NoGradGuard();
        CompiledFunctions functions = new CompiledFunctions()) {
      Device cpu = new Device(DeviceType.CPU);
      Tensor vector = torch.ones(floats);
      int[] bounds = new int[membership.size() + 1];
      List<ShardRange> ranges = new ArrayList<>();
      for (int rank = 0; rank < membership.size(); rank++) {
        ranges.add(new ShardRange(rank, rank + 1));
        bounds[rank + 1] = rank + 1;
      }
      List<Tensor> like = List.of(vector);
      try (ReplicaGroup group = ReplicaGroup.form(membership, cpu, listening);
          GatheredSum gathered =
              GatheredSum.fits(group, group.size(), ranges, like)
                  ? new GatheredSum(group, group.size(), ranges, like, 1, functions)
                  : null;
          ExactSum chunked =
              gathered == null
                  ? new ExactSum(group, group.size(), ranges, like, cpu, functions)
                  : null) {
        Tensor wire = group.wire(floats, ScalarType.Float);
        for (int i = -WARM_UP; i < steps; i++) {
          try (PointerScope step = new PointerScope()) {
            group.barrier();
            long begin = System.nanoTime();
            if (!exact) {
              group.allReduce(wire).await();
            } else if (gathered != null) {
              gathered.begin();
              gathered.sum(List.of(), bounds);
            } else if (chunked != null) {
              chunked.sumOwn(bounds);
            }
            if (i >= 0) {
              nanos[i] = System.nanoTime() - begin;
            }
          }
        }
        group.barrier();
      }
    }
    return nanos;
  }
}
