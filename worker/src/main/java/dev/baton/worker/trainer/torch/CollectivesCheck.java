package dev.baton.worker.trainer.torch;

import dev.baton.worker.trainer.GroupBrokenException;
import dev.baton.worker.trainer.Membership;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.IntConsumer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.LongVector;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.DeviceType;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Tries the collectives that training needs on values that are known, and an abort. */
public final class CollectivesCheck {
  /** Elements that go to each rank. */
  private static final int SPLIT = 1 << 16;

  private CollectivesCheck() {}

  /**
   * Forms a group and tries it.
   *
   * @param cuda whether the tensors are this process's GPU's
   * @param listening told the store's port, on rank 0
   * @return what was tried, in order, and whether it gave what it should
   */
  public static Map<String, Boolean> run(
      Membership membership, boolean cuda, IntConsumer listening) {
    Map<String, Boolean> results = new LinkedHashMap<>();
    try (PointerScope scope = new PointerScope();
        NoGradGuard none = new NoGradGuard()) {
      Device device = new Device(cuda ? DeviceType.CUDA : DeviceType.CPU);
      ReplicaGroup group = ReplicaGroup.form(membership, device, listening);
      try {
        results.put("all_to_all", allToAll(group));
        results.put("all_gather", allGather(group));
        results.put("broadcast", broadcast(group));
        group.barrier();
        group.abort();
        results.put("abort", refuses(group));
      } finally {
        group.close();
      }
      if (membership.size() == 1) {
        try (ReplicaGroup again = ReplicaGroup.form(membership, device, port -> {})) {
          results.put("group_after_abort", allGather(again));
        }
      }
    }
    return results;
  }

  /** Split j of rank r holds r * size + j; afterwards split j of rank r holds j * size + r. */
  private static boolean allToAll(ReplicaGroup group) {
    int size = group.size();
    Tensor in = group.wire((long) size * SPLIT, ScalarType.Float);
    Tensor out = group.wire((long) size * SPLIT, ScalarType.Float);
    for (int j = 0; j < size; j++) {
      split(in, j).fill_(new Scalar((double) (group.rank() * size + j)));
    }
    long[] splits = new long[size];
    Arrays.fill(splits, SPLIT);
    group.allToAll(out, in, new LongVector(splits), new LongVector(splits)).await();
    boolean right = true;
    for (int j = 0; j < size; j++) {
      right &= holds(split(out, j), j * size + group.rank());
    }
    return right;
  }

  private static boolean allGather(ReplicaGroup group) {
    Tensor in = group.wire(SPLIT, ScalarType.Float);
    Tensor out = group.wire((long) group.size() * SPLIT, ScalarType.Float);
    in.fill_(new Scalar(group.rank() + 0.5));
    group.allGather(out, in).await();
    boolean right = true;
    for (int j = 0; j < group.size(); j++) {
      right &= holds(split(out, j), j + 0.5);
    }
    return right;
  }

  private static boolean broadcast(ReplicaGroup group) {
    Tensor tensor = group.wire(SPLIT, ScalarType.Double);
    tensor.fill_(new Scalar((double) group.rank()));
    group.broadcast(tensor, group.size() - 1).await();
    return holds(tensor, group.size() - 1);
  }

  private static boolean refuses(ReplicaGroup group) {
    try {
      group.barrier();
      return false;
    } catch (GroupBrokenException e) {
      return true;
    }
  }

  private static Tensor split(Tensor tensor, int j) {
    return tensor.narrow(0, (long) j * SPLIT, SPLIT);
  }

  private static boolean holds(Tensor tensor, double value) {
    return tensor.eq(new Scalar(value)).all().item_bool();
  }
}
