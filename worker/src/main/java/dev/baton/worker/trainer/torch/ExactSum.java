package dev.baton.worker.trainer.torch;

import dev.baton.worker.data.ShardRange;
import dev.baton.worker.trainer.torch.ShardTree.Node;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.LongVector;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * Adds the shards' lists of tensors over all replicas, to the same bits on any number of them.
 *
 * <p>Why the order of additions is fixed. One replica adds the lists along {@link ShardTree}'s
 * tree, tensor by tensor and element by element, and an element's sum depends on that element of
 * the shards alone. Here each replica ends with the maximal subtrees of that tree within its own
 * range of shards, and lays each out as one flat vector. The vector is cut into as many equal
 * chunks as there are replicas, wherever a cut falls: no element is added to another, so cuts
 * change nothing. Rank r receives chunk r of every subtree of every rank, by all-to-all, which
 * moves bytes and adds nothing, and feeds them, from the left to the right, into another {@link
 * ShardTree}, which makes exactly the additions that are left, operands in the tree's order. All
 * chunks are then put together by broadcasts, again without arithmetic. Addition of two float32
 * numbers is correctly rounded, so it does not matter which processor, vector width or memory
 * layout makes one. Which shards are empty follows from the batch's size, on every rank alike. No
 * sum of Gloo's or NCCL's takes part.
 *
 * <p>{@link GatheredSum} makes the same additions on whole vectors where that costs less.
 *
 * <p>A rank sends and receives (R − 1)/R of the vector for each of its subtrees, and as much again
 * in the broadcasts: with one subtree each, as much as a ring.
 */
final class ExactSum implements AutoCloseable {
  /** Elements that chunks are a multiple of: 64 bytes. */
  private static final long ALIGNMENT = 16;

  /** The i-th subtree of each rank that has so many, on its way. */
  private record Round(
      @Nullable Slot mine, Tensor received, LongVector from, LongVector to, List<Tensor> pieces) {}

  /**
   * A flat vector.
   *
   * @param wire what is sent; the device's own tensor where that can be sent itself
   */
  private record Slot(Tensor local, Tensor wire, IValue views) {}

  private final ReplicaGroup group;
  private final int shards;
  private final Owned owned = new Owned();
  private final List<List<Node<Boolean>>> subtrees;
  private final List<Round> rounds = new ArrayList<>();
  private final CompiledFunctions.Call copy;
  private final Slot result;
  private final long chunk;

  /** The result's. */
  private final List<Tensor> chunks = new ArrayList<>();

  /**
   * @param ranges each rank's shards
   * @param like tensors of the shapes that are added, float32
   */
  ExactSum(
      ReplicaGroup group,
      int shards,
      List<ShardRange> ranges,
      List<Tensor> like,
      Device device,
      CompiledFunctions functions) {
    this.group = group;
    this.shards = shards;
    CompiledFunctions kept = functions.keptBy(owned);
    this.copy = kept.call("copy", 3).set(2, 0L);
    int size = group.size();
    this.chunk = aligned((floats(like) + size - 1) / size);
    this.subtrees = subtrees(shards, ranges);
    int most = subtrees.stream().mapToInt(List::size).max().orElse(0);
    int mine = subtrees.get(group.rank()).size();
    for (int i = 0; i < most; i++) {
      rounds.add(round(i, i < mine ? slot(like, device, kept) : null));
    }
    Slot first = rounds.get(0).mine();
    if (first == null) {
      throw new IllegalArgumentException("rank " + group.rank() + " has none of the shards");
    }
    // Free again when everything is sent.
    this.result = first;
    for (long at = 0; at < chunk * size; at += chunk) {
      chunks.add(owned.keep(first.wire().narrow(0, at, chunk)));
    }
  }

  private Round round(int index, @Nullable Slot mine) {
    int size = group.size();
    long[] from = new long[size];
    long[] to = new long[size];
    long length = 0;
    for (int rank = 0; rank < size; rank++) {
      from[rank] = subtrees.get(rank).size() > index ? chunk : 0;
      to[rank] = mine == null ? 0 : chunk;
      length += from[rank];
    }
    Tensor received = owned.keep(group.wire(length, ScalarType.Float));
    List<Tensor> pieces = new ArrayList<>();
    for (long at = 0; at < length; at += chunk) {
      pieces.add(owned.keep(received.narrow(0, at, chunk)));
    }
    return new Round(
        mine, received, owned.keep(new LongVector(from)), owned.keep(new LongVector(to)), pieces);
  }

  private Slot slot(List<Tensor> like, Device device, CompiledFunctions functions) {
    long length = chunk * group.size();
    Tensor wire = owned.keep(group.wire(length, ScalarType.Float));
    Tensor local =
        group.staged()
            ? owned.keep(
                torch.zeros(
                    new long[] {length},
                    new TensorOptions(ScalarType.Float).device(new DeviceOptional(device))))
            : wire;
    return new Slot(local, wire, functions.list(views(local, like)));
  }

  /** The maximal subtrees within each range, from left to right. */
  static List<List<Node<Boolean>>> subtrees(int shards, List<ShardRange> ranges) {
    List<List<Node<Boolean>>> subtrees = new ArrayList<>();
    for (ShardRange range : ranges) {
      ShardTree<Boolean> tree = new ShardTree<>(shards, (left, right) -> left);
      for (int shard = range.from(); shard < range.to(); shard++) {
        tree.add(shard, shard + 1, true);
      }
      subtrees.add(tree.partials());
    }
    return subtrees;
  }

  /** Elements of tensors, together. */
  static long floats(List<Tensor> like) {
    return like.stream().mapToLong(Tensor::numel).sum();
  }

  /** So many elements or a few more. */
  static long aligned(long elements) {
    return (elements + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  /** Tensors of the same shapes, one behind the other in a flat vector. */
  static List<Tensor> views(Tensor flat, List<Tensor> like) {
    List<Tensor> views = new ArrayList<>();
    long at = 0;
    for (Tensor tensor : like) {
      views.add(flat.narrow(0, at, tensor.numel()).view(tensor.shape()));
      at += tensor.numel();
    }
    return views;
  }

  /**
   * The sum over all shards, as a list; valid until the next call.
   *
   * @param partials this rank's subtrees, from left to right; null where all shards are empty
   * @param bounds of the shards, in samples
   */
  IValue sum(List<Node<IValue>> partials, int[] bounds) {
    for (int i = 0; i < partials.size(); i++) {
      IValue partial = partials.get(i).value();
      Slot slot = rounds.get(i).mine();
      if (slot != null && partial != null) {
        copy.set(0, slot.views()).set(1, partial).apply();
        copy.clear(1);
      }
    }
    return sumOwn(bounds);
  }

  /** The same, of what lies in this rank's flat vectors. */
  IValue sumOwn(int[] bounds) {
    List<ReplicaGroup.Pending> sent = new ArrayList<>();
    rounds.forEach(round -> sent.add(send(round)));
    sent.forEach(ReplicaGroup.Pending::await);
    finish(bounds, chunks.get(group.rank()));
    group.allGatherInPlace(chunks).forEach(ReplicaGroup.Pending::await);
    if (group.staged()) {
      result.local().copy_(result.wire());
    }
    return result.views();
  }

  /** An empty subtree's chunks travel too, and are not looked at. */
  private ReplicaGroup.Pending send(Round round) {
    Slot slot = round.mine();
    Tensor out = round.received();
    if (slot == null) {
      return group.allToAll(out, result.wire().narrow(0, 0, 0), round.from(), round.to());
    }
    if (group.staged()) {
      slot.wire().copy_(slot.local());
    }
    return group.allToAll(out, slot.wire(), round.from(), round.to());
  }

  /** Makes the additions that are left; the last one's result goes to its place at once. */
  private void finish(int[] bounds, Tensor target) {
    int additions = -1;
    for (List<Node<Boolean>> ofRank : subtrees) {
      for (Node<Boolean> node : ofRank) {
        additions += bounds[node.from()] == bounds[node.to()] ? 0 : 1;
      }
    }
    int[] left = {additions};
    ShardTree<Tensor> tree =
        new ShardTree<>(shards, (a, b) -> --left[0] == 0 ? torch.add_out(target, a, b) : a.add_(b));
    int[] taken = new int[rounds.size()];
    for (List<Node<Boolean>> ofRank : subtrees) {
      for (int i = 0; i < ofRank.size(); i++) {
        Node<Boolean> node = ofRank.get(i);
        Tensor piece = rounds.get(i).pieces().get(taken[i]++);
        boolean empty = bounds[node.from()] == bounds[node.to()];
        tree.add(node.from(), node.to(), empty ? null : piece);
      }
    }
    Tensor sum = tree.total();
    if (sum == null) {
      throw new IllegalArgumentException("all shards are empty");
    }
    if (additions == 0) {
      target.copy_(sum);
    }
  }

  @Override
  public void close() {
    owned.close();
  }
}
