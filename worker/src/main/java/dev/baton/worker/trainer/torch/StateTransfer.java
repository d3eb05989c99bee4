package dev.baton.worker.trainer.torch;

import com.google.protobuf.ByteString;
import dev.baton.v1.AttemptOutcome;
import dev.baton.worker.trainer.Engine.Standing;
import dev.baton.worker.trainer.GroupBrokenException;
import dev.baton.worker.trainer.TrainingException;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Brings all members of a new group to one state: that of the member that is furthest, sums and
 * what its run remembers included. When a peer is lost inside a step's last exchange the others can
 * stand at two neighbouring steps; a joiner has no state at all.
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
   * @param job says which job and in which mode; the same on all members
   * @return where all stand
   * @throws TrainingException where no member has a whole state
   * @throws IllegalStateException where the members' jobs differ
   * @throws GroupBrokenException where the group breaks on the way
   */
  Standing agree(Standing mine, long job) {
    Tensor told = torch.tensor(new long[] {mine.position(), job, mine.memory().size()});
    Tensor sent = group.wire(3, ScalarType.Long);
    sent.copy_(told);
    Tensor everyones = group.wire(3L * group.size(), ScalarType.Long);
    group.allGather(everyones, sent).await();
    long highest = -1;
    int root = 0;
    int memoryBytes = 0;
    boolean equal = true;
    for (int rank = 0; rank < group.size(); rank++) {
      long theirs = everyones.select(0, 3L * rank).item_long();
      if (everyones.select(0, 3L * rank + 1).item_long() != job) {
        throw new IllegalStateException(
            "rank " + rank + " trains another job than rank " + group.rank());
      }
      equal &= rank == 0 || theirs == highest;
      if (theirs > highest) {
        highest = theirs;
        root = rank;
        memoryBytes = Math.toIntExact(everyones.select(0, 3L * rank + 2).item_long());
      }
    }
    requireWhole(highest, group.size());
    if (equal) {
      return mine;
    }
    try {
      receive(root);
      ByteString memory = receive(root, mine.memory(), memoryBytes);
      return mine.position() == highest ? mine : new Standing(highest, memory);
    } catch (GroupBrokenException e) {
      // What is overwritten with its own bits is whole all the while.
      throw new GroupBrokenException(
          "receiving rank " + root + "'s state: " + TorchErrors.firstLine(e),
          mine.position() == highest,
          e);
    }
  }

  /**
   * @param position the highest of a group's members
   * @throws TrainingException where it says that none has a state
   */
  static void requireWhole(long position, int size) {
    if (position < 0) {
      throw new TrainingException(
          AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR,
          "no replica has a whole state, of %d that were to go on from one another's memory"
              .formatted(size));
    }
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

  private ByteString receive(int root, ByteString mine, int length) {
    if (length == 0) {
      return ByteString.EMPTY;
    }
    byte[] bytes = group.rank() == root ? mine.toByteArray() : new byte[length];
    Tensor host = torch.zeros(new long[] {length}, new TensorOptions(ScalarType.Byte));
    BytePointer memory = new BytePointer(host.data_ptr());
    memory.put(bytes, 0, length);
    Tensor wire = group.wire(length, ScalarType.Byte);
    wire.copy_(host);
    group.broadcast(wire, root).await();
    host.copy_(wire);
    memory.get(bytes, 0, length);
    return ByteString.copyFrom(bytes);
  }
}
