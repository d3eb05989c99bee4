package dev.baton.worker.trainer.torch;

import dev.baton.worker.data.ShardRange;
import dev.baton.worker.trainer.torch.ShardTree.Node;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * {@link ExactSum}'s sum in one exchange: every replica receives every subtree whole, and the
 * step's reports with them, and makes all additions that are left itself. The tree is the same, and
 * so are the bits. Two replicas with one subtree each send no more than in chunks; more of them do,
 * which costs less than another exchange where the vector is small.
 */
final class GatheredSum implements AutoCloseable {
  /** Bytes of all vectors together up to which more than two replicas gather them. */
  private static final long SMALL = 1 << 20;

  private final ReplicaGroup group;
  private final int shards;
  private final Owned owned = new Owned();
  private final List<List<Node<Boolean>>> subtrees;
  private final CompiledFunctions.Call copy;

  private final Tensor everyones;

  /** Each rank's part of it. */
  private final List<Tensor> vectors = new ArrayList<>();

  private final List<IValue> targets = new ArrayList<>();

  /** Each rank's subtrees. */
  private final List<List<Tensor>> pieces = new ArrayList<>();

  private final IValue result;
  private final Tensor mine;
  private final long tail;
  private ReplicaGroup.@Nullable Gathering gathering;

  /**
   * @param ranges each rank's shards
   * @param like tensors of the shapes that are added, float32
   * @param words 64-bit words that travel with a vector
   */
  GatheredSum(
      ReplicaGroup group,
      int shards,
      List<ShardRange> ranges,
      List<Tensor> like,
      long words,
      CompiledFunctions functions) {
    this.group = group;
    this.shards = shards;
    this.subtrees = ExactSum.subtrees(shards, ranges);
    CompiledFunctions kept = functions.keptBy(owned);
    this.copy = kept.call("copy", 3).set(2, 0L);
    long subtree = ExactSum.aligned(ExactSum.floats(like));
    this.tail = subtree * most(subtrees);
    long length = ExactSum.aligned(tail + 2 * words);
    int size = group.size();
    this.everyones = owned.keep(group.wire(length * size, ScalarType.Float));
    for (int rank = 0; rank < size; rank++) {
      Tensor vector = owned.keep(everyones.narrow(0, length * rank, length));
      vectors.add(vector);
      List<Tensor> ofRank = new ArrayList<>();
      for (int i = 0; i < subtrees.get(rank).size(); i++) {
        ofRank.add(owned.keep(vector.narrow(0, subtree * i, subtree)));
      }
      pieces.add(ofRank);
    }
    this.mine = vectors.get(group.rank());
    for (int i = 0; i < subtrees.get(group.rank()).size(); i++) {
      targets.add(kept.list(ExactSum.views(mine.narrow(0, subtree * i, subtree), like)));
    }
    // Each addition's result is left in its left operand, and the first shard is never empty.
    this.result = kept.list(ExactSum.views(pieces.get(0).get(0), like));
  }

  /** Whether it is what to use. */
  static boolean fits(ReplicaGroup group, int shards, List<ShardRange> ranges, List<Tensor> like) {
    int most = most(ExactSum.subtrees(shards, ranges));
    return !group.staged()
        && ((group.size() == 2 && most == 1)
            || bytes(ExactSum.aligned(ExactSum.floats(like)) * most, group.size()) <= SMALL);
  }

  private static long bytes(long floats, int size) {
    return Float.BYTES * floats * size;
  }

  private static int most(List<List<Node<Boolean>>> subtrees) {
    return subtrees.stream().mapToInt(List::size).max().orElse(0);
  }

  /** Where this rank's words are to be written. */
  Tensor words(long count) {
    return words(mine, count);
  }

  /** Everyone's, once a sum is made. */
  List<Tensor> everyonesWords(long count) {
    return vectors.stream().map(vector -> words(vector, count)).toList();
  }

  private Tensor words(Tensor vector, long count) {
    return vector.narrow(0, tail, 2 * count).view(ScalarType.Long);
  }

  /** Begins to receive, before the parts are computed. In the scope of the sum. */
  void begin() {
    gathering = group.gather(everyones, vectors);
  }

  /** As {@link ExactSum#sum}; brings everyone's words too. To be begun before. */
  IValue sum(List<Node<IValue>> partials, int[] bounds) {
    for (int i = 0; i < partials.size(); i++) {
      IValue partial = partials.get(i).value();
      if (partial != null) {
        copy.set(0, targets.get(i)).set(1, partial).apply();
        copy.clear(1);
      }
    }
    Objects.requireNonNull(gathering, "begin() comes first").finish();
    gathering = null;
    ShardTree<Tensor> tree = new ShardTree<>(shards, Tensor::add_);
    for (int rank = 0; rank < group.size(); rank++) {
      List<Node<Boolean>> nodes = subtrees.get(rank);
      for (int i = 0; i < nodes.size(); i++) {
        Node<Boolean> node = nodes.get(i);
        boolean empty = bounds[node.from()] == bounds[node.to()];
        tree.add(node.from(), node.to(), empty ? null : pieces.get(rank).get(i));
      }
    }
    tree.total();
    return result;
  }

  @Override
  public void close() {
    owned.close();
  }
}
