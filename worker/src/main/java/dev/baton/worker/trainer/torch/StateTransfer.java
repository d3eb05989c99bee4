package dev.baton.worker.trainer.torch;

import dev.baton.worker.trainer.GroupBrokenException;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Brings all members of a new group to one state: the one after the highest step that any of them
 * has whole, sums included. When a peer is lost inside a step's last exchange the others can stand
 * at two neighbouring steps; a joiner has no state at all.
 */
final class StateTransfer {
  private final ReplicaGroup group;
  private final List<StateTensor> state;
  private final RunningSums sums;

  StateTransfer(ReplicaGroup group, List<StateTensor> state, RunningSums sums) {
    this.group = group;
    this.state = state;
    this.sums = sums;
  }

  /**
   * @param step this replica's, negative where it has no whole state
   * @param job says which job and in which mode; the same on all members
   * @return the step that all are at
   * @throws IllegalStateException where the members' jobs differ or none has a state
   * @throws GroupBrokenException where the group breaks on the way
   */
  long agree(long step, long job) {
    Tensor mine = torch.tensor(new long[] {step, job});
    Tensor sent = group.wire(2, ScalarType.Long);
    sent.copy_(mine);
    Tensor everyones = group.wire(2L * group.size(), ScalarType.Long);
    group.allGather(everyones, sent).await();
    long highest = -1;
    int root = 0;
    boolean equal = true;
    for (int rank = 0; rank < group.size(); rank++) {
      long theirs = everyones.select(0, 2L * rank).item_long();
      if (everyones.select(0, 2L * rank + 1).item_long() != job) {
        throw new IllegalStateException(
            "rank " + rank + " trains another job than rank " + group.rank());
      }
      equal &= rank == 0 || theirs == highest;
      if (theirs > highest) {
        highest = theirs;
        root = rank;
      }
    }
    if (highest < 0) {
      throw new IllegalStateException("no replica of " + group.size() + " has a whole state");
    }
    if (!equal) {
      try {
        receive(root);
      } catch (GroupBrokenException e) {
        // What is overwritten with its own bits is whole all the while.
        throw new GroupBrokenException(
            "receiving rank " + root + "'s state: " + TorchErrors.firstLine(e), step == highest, e);
      }
    }
    return highest;
  }

  private void receive(int root) {
    for (StateTensor entry : state) {
      Tensor tensor = entry.tensor();
      Tensor wire = group.wire(tensor.numel(), tensor.scalar_type());
      Tensor shaped = wire.view(tensor.shape());
      if (group.rank() == root) {
        shaped.copy_(tensor);
      }
      group.broadcast(wire, root).await();
      if (group.rank() != root) {
        tensor.copy_(shaped);
      }
      wire.close();
    }
    Tensor packed = sums.pack();
    Tensor wire = group.wire(packed.numel(), ScalarType.Double);
    wire.copy_(packed);
    group.broadcast(wire, root).await();
    if (group.rank() != root) {
      sums.unpack(wire);
    }
  }
}
