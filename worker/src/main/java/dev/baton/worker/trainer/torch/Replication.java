package dev.baton.worker.trainer.torch;

import dev.baton.worker.data.ShardRange;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * What this replica exchanges with the others of its group in a step. In exact mode a step's parts
 * are the shards, and each replica trains several; in fast mode a replica's samples are one part.
 */
final class Replication implements AutoCloseable {
  private final ReplicaGroup group;
  private final int shards;
  private final boolean fast;
  private final List<Tensor> parameters;
  private final ShardBuffers buffers;
  private final Device device;
  private final CompiledFunctions functions;

  /** The shards that each rank trains. */
  private final List<ShardRange> held = new ArrayList<>();

  /** The parts that each rank trains. */
  private final List<ShardRange> ranges = new ArrayList<>();

  private final StepReports reports;

  /** The reports' own exchange, where they do not travel with the sum. */
  private final @Nullable TensorExchange reported;

  private final @Nullable GatheredSum gathered;
  private final @Nullable OverlappedReducer reducer;
  private final Owned owned = new Owned();
  private @Nullable ExactSum sum;

  /** Rank 0's floating-point buffers, flat, in fast mode. */
  private @Nullable Tensor flatBuffers;

  private @Nullable IValue flatBufferViews;
  private CompiledFunctions.@Nullable Call packBuffers;
  private final TensorExchange evaluated;

  /** Two tensors for an all-gather. */
  private record TensorExchange(Tensor mine, Tensor everyones) {}

  /**
   * @param shards of every batch
   * @param fast whether to give up the same bits for speed
   * @param evaluatedNumbers that an evaluation's batch adds
   */
  Replication(
      ReplicaGroup group,
      int shards,
      boolean fast,
      List<Tensor> parameters,
      ShardBuffers buffers,
      int evaluatedNumbers,
      Device device,
      CompiledFunctions functions) {
    this.group = group;
    this.shards = shards;
    this.fast = fast;
    this.parameters = parameters;
    this.buffers = buffers;
    this.device = device;
    this.functions = functions;
    for (int rank = 0; rank < group.size(); rank++) {
      ShardRange range = ShardRange.of(shards, rank, group.size());
      held.add(range);
      ranges.add(fast ? new ShardRange(rank, rank + 1) : range);
    }
    List<Tensor> like = like();
    long words = StepReports.words(ranges, buffers.integers());
    if (!fast && GatheredSum.fits(group, shards, ranges, like)) {
      GatheredSum sum = new GatheredSum(group, shards, ranges, like, words, functions);
      this.gathered = sum;
      this.reported = null;
      this.reports = reports(sum.words(words), sum.everyonesWords(words));
    } else {
      this.gathered = null;
      TensorExchange apart =
          new TensorExchange(
              owned.keep(group.wire(words, ScalarType.Long)),
              owned.keep(group.wire(words * group.size(), ScalarType.Long)));
      this.reported = apart;
      List<Tensor> each = new ArrayList<>();
      for (int rank = 0; rank < group.size(); rank++) {
        each.add(apart.everyones().narrow(0, words * rank, words));
      }
      this.reports = reports(apart.mine(), each);
    }
    this.reducer = fast ? new OverlappedReducer(group, parameters) : null;
    long numbers = evaluatedNumbers;
    this.evaluated =
        new TensorExchange(
            owned.keep(group.wire(numbers, ScalarType.Double)),
            owned.keep(group.wire(numbers * group.size(), ScalarType.Double)));
    if (fast && !buffers.floating().isEmpty()) {
      long floats = ExactSum.floats(buffers.floating());
      Tensor flat = owned.keep(group.wire(floats, ScalarType.Float));
      this.flatBuffers = flat;
      CompiledFunctions kept = functions.keptBy(owned);
      IValue list = kept.list(ExactSum.views(flat, buffers.floating()));
      this.flatBufferViews = list;
      this.packBuffers =
          kept.call("copy", 3).set(0, list).set(1, buffers.floatingList()).set(2, 0L);
    }
  }

  private StepReports reports(Tensor mine, List<Tensor> everyones) {
    return new StepReports(group.rank(), ranges, buffers.integers(), mine, everyones, functions);
  }

  /** What is added. */
  private List<Tensor> like() {
    List<Tensor> like = new ArrayList<>(parameters);
    like.addAll(buffers.floating());
    return like;
  }

  ReplicaGroup group() {
    return group;
  }

  int size() {
    return group.size();
  }

  /** The parts that this replica trains. */
  ShardRange mine() {
    return ranges.get(group.rank());
  }

  /** Bounds of a batch's parts, in samples, by the bounds of its shards. */
  int[] parts(int[] shardBounds) {
    if (!fast) {
      return shardBounds;
    }
    int[] bounds = new int[group.size() + 1];
    for (int rank = 0; rank < group.size(); rank++) {
      bounds[rank + 1] = shardBounds[held.get(rank).to()];
    }
    return bounds;
  }

  /**
   * @throws IllegalStateException where a batch holds other shards than this replica's
   */
  void check(ShardRange batch) {
    if (!batch.equals(held.get(group.rank()))) {
      throw new IllegalStateException(
          "rank %d of %d got shards %s of %d".formatted(group.rank(), group.size(), batch, shards));
    }
  }

  /**
   * What overlaps the backward pass; null where this batch cannot: in exact mode, and where a
   * replica has no sample of the batch and thus no backward pass to take part with.
   */
  @Nullable OverlappedReducer reducer(int[] parts) {
    // Parts do not grow from the first to the last.
    return parts[parts.length - 1] == parts[parts.length - 2] ? null : reducer;
  }

  StepReports reports() {
    return reports;
  }

  /** Before the parts of a step are computed that {@link #sum} is to add. */
  void begin() {
    if (gathered != null) {
      gathered.begin();
    }
  }

  /**
   * Exchanges the reports and adds what the parts left.
   *
   * @param integers this replica's, after its first part
   * @param partials as for {@link ExactSum#sum}
   */
  IValue sum(
      long step, @Nullable IValue integers, List<ShardTree.Node<IValue>> partials, int[] parts) {
    reports.fill(step, integers);
    if (gathered != null) {
      return gathered.sum(partials, parts);
    }
    TensorExchange apart = Objects.requireNonNull(reported);
    ReplicaGroup.Pending told = group.allGather(apart.everyones(), apart.mine());
    ExactSum exact = sum;
    if (exact == null) {
      exact = new ExactSum(group, parts.length - 1, ranges, like(), device, functions);
      sum = exact;
    }
    IValue total = exact.sum(partials, parts);
    told.await();
    return total;
  }

  /** Begins to send rank 0's floating-point buffers to all; null without any. */
  ReplicaGroup.@Nullable Pending broadcastBuffers() {
    Tensor flat = flatBuffers;
    CompiledFunctions.Call pack = packBuffers;
    if (flat == null || pack == null) {
      return null;
    }
    if (group.rank() == 0) {
      pack.apply();
    }
    return group.broadcast(flat, 0);
  }

  /** Takes what {@link #broadcastBuffers} brought. The integer buffers are everywhere the same. */
  void writeBuffers(ShardBuffers.Step step) {
    step.finish(flatBufferViews, 0, null);
  }

  /**
   * Where to write what this replica's evaluation batch adds; zeros, which say that there is none.
   */
  Tensor evaluated() {
    return evaluated.mine().zero_();
  }

  /** Exchanges those, and adds them in the batches' order. */
  void addEvaluated(RunningSums sums) {
    group.allGather(evaluated.everyones(), evaluated.mine()).await();
    Tensor byRank = evaluated.everyones().view(group.size(), -1);
    for (int rank = 0; rank < group.size(); rank++) {
      sums.addEvaluated(byRank.select(0, rank));
    }
  }

  @Override
  public void close() {
    if (reducer != null) {
      reducer.close();
    }
    if (sum != null) {
      sum.close();
    }
    if (gathered != null) {
      gathered.close();
    }
    reports.close();
    owned.close();
    group.close();
  }
}
