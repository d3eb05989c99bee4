package dev.baton.worker.trainer.torch;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.function.BinaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Adds one value for each shard along one fixed binary tree.
 *
 * <p>Floating-point addition is not associative, so a sum depends on its order; here the order is a
 * function of the number of shards alone. The tree over shards {@code [0, n)} is a leaf for n = 1,
 * else the tree over the first m and the tree over the rest, where m is the largest power of two
 * below n; a node's value is left + right. {@link #add} receives the nodes that this process holds
 * from left to right and adds two neighbours if and only if they are the two children of one node
 * (see {@link #areSiblings}), replacing them by that node. So every addition that is ever made is
 * one of the tree's, with its operands in the tree's order, whoever makes it and whenever: a
 * process that holds shards [a, b) ends with the maximal subtrees within [a, b), and whoever feeds
 * the partials of all processes into another instance makes exactly the additions that are left.
 * Nothing else is ever added, and each node's value is thus the same for every division of the
 * shards among processes.
 *
 * <p>Merged as early as possible, at most ⌈log₂ n⌉ + 1 values live: the complete subtrees on the
 * stack have falling sizes, each a different power of two, and one leaf is on its way.
 *
 * <p>An empty shard has no value (null); the sum of no value and a value is the value itself. Which
 * shards are empty is a function of the batch's size, so this too is the same everywhere.
 *
 * @param <T> what is added
 */
final class ShardTree<T> {

  /**
   * A node: the sum over shards [from, to).
   *
   * @param value null where all of them are empty
   */
  record Node<T>(int from, int to, @Nullable T value) {}

  private final int shards;
  private final BinaryOperator<T> sum;
  private final Deque<Node<T>> stack = new ArrayDeque<>();

  /**
   * @param shards of the whole batch
   * @param sum left + right; may use up both
   */
  ShardTree(int shards, BinaryOperator<T> sum) {
    this.shards = shards;
    this.sum = sum;
  }

  /** Adds the next node to the right: a shard, or another process's partial. */
  void add(int from, int to, @Nullable T value) {
    Node<T> node = new Node<>(from, to, value);
    while (!stack.isEmpty() && areSiblings(stack.peek(), node)) {
      Node<T> left = stack.pop();
      node = new Node<>(left.from, node.to, sum(left.value, node.value));
    }
    stack.push(node);
  }

  /** The maximal subtrees so far, from left to right. */
  List<Node<T>> partials() {
    List<Node<T>> nodes = new ArrayList<>(stack);
    java.util.Collections.reverse(nodes);
    return nodes;
  }

  /** The sum over all shards, once every one was added; null where all are empty. */
  @Nullable T total() {
    Node<T> root = stack.peek();
    if (root == null || root.from != 0 || root.to != shards) {
      throw new IllegalStateException("the tree over " + shards + " shards holds " + partials());
    }
    return root.value;
  }

  private @Nullable T sum(@Nullable T left, @Nullable T right) {
    if (left == null || right == null) {
      return left == null ? right : left;
    }
    return sum.apply(left, right);
  }

  /** Whether two neighbours are the children of one node: looks for it from the root down. */
  private boolean areSiblings(Node<T> left, Node<T> right) {
    int from = 0;
    int to = shards;
    while (to - from > 1) {
      int middle = from + Integer.highestOneBit(to - from - 1);
      if (from == left.from && to == right.to) {
        return middle == left.to && middle == right.from;
      }
      if (right.to <= middle) {
        to = middle;
      } else if (left.from >= middle) {
        from = middle;
      } else {
        return false;
      }
    }
    return false;
  }
}
