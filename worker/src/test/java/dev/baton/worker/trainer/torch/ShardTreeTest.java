package dev.baton.worker.trainer.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class ShardTreeTest {

  private static ShardTree<String> tree(int shards) {
    return new ShardTree<>(shards, (left, right) -> "(" + left + "+" + right + ")");
  }

  /** The definition, top down. */
  private static String expected(int from, int to) {
    if (to - from == 1) {
      return Integer.toString(from);
    }
    int middle = from + Integer.highestOneBit(to - from - 1);
    return "(" + expected(from, middle) + "+" + expected(middle, to) + ")";
  }

  @Test
  void knownTrees() {
    assertThat(expected(0, 4)).isEqualTo("((0+1)+(2+3))");
    assertThat(expected(0, 7)).isEqualTo("(((0+1)+(2+3))+((4+5)+6))");
  }

  @Test
  void oneProcessAddsAsDefinedWithFewAlive() {
    for (int shards = 1; shards <= 70; shards++) {
      ShardTree<String> tree = tree(shards);
      int alive = 0;
      for (int shard = 0; shard < shards; shard++) {
        alive = Math.max(alive, tree.partials().size() + 1);
        tree.add(shard, shard + 1, Integer.toString(shard));
      }
      assertThat(tree.total()).isEqualTo(expected(0, shards));
      int log = 32 - Integer.numberOfLeadingZeros(shards - 1);
      assertThat(alive).isLessThanOrEqualTo(log + 1);
    }
  }

  @Test
  void everyDivisionAmongProcessesAddsTheSame() {
    Random random = new Random(1);
    for (int round = 0; round < 500; round++) {
      int shards = 1 + random.nextInt(40);
      ShardTree<String> all = tree(shards);
      int from = 0;
      while (from < shards) {
        int to = from + 1 + random.nextInt(shards - from);
        ShardTree<String> process = tree(shards);
        for (int shard = from; shard < to; shard++) {
          process.add(shard, shard + 1, Integer.toString(shard));
        }
        for (ShardTree.Node<String> node : process.partials()) {
          assertThat(node.value()).isEqualTo(expected(node.from(), node.to()));
          all.add(node.from(), node.to(), node.value());
        }
        from = to;
      }
      assertThat(all.total()).isEqualTo(expected(0, shards));
    }
  }

  @Test
  void emptyShardsAddNothing() {
    ShardTree<String> tree = tree(4);
    tree.add(0, 1, "0");
    tree.add(1, 2, "1");
    tree.add(2, 3, "2");
    tree.add(3, 4, null);
    assertThat(tree.total()).isEqualTo("((0+1)+2)");
  }

  @Test
  void anUnfinishedTreeHasNoTotal() {
    ShardTree<String> tree = tree(3);
    tree.add(0, 1, "0");
    assertThatThrownBy(tree::total).isInstanceOf(IllegalStateException.class);
    List<String> seen = new ArrayList<>();
    tree.partials().forEach(node -> seen.add(node.value()));
    assertThat(seen).containsExactly("0");
  }
}
