package dev.baton.worker.trainer.torch;

import dev.baton.worker.data.ShardRange;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * What the replicas tell each other of a step besides gradients: each part's loss and correct
 * answers, and rank 0's integer buffers. A part is a shard, or, without the promise of the same
 * bits, all that a replica trains of a batch.
 *
 * <p>The sums over a run stay the same to the bit on any number of replicas because every replica
 * makes the additions that one replica alone makes: part by part, in the parts' order, from the
 * same numbers, which travel as the 64 bits they are.
 */
final class StepReports implements AutoCloseable {

  /**
   * A part's numbers, float64 scalars.
   *
   * @param correct stays zero for a regression
   */
  record Part(Tensor loss, Tensor correct) {

    /** Notes the numbers of a part of this replica's. */
    void note(Tensor newLoss, @Nullable Tensor newCorrect) {
      loss.copy_(newLoss);
      if (newCorrect != null) {
        correct.copy_(newCorrect);
      }
    }
  }

  private final Owned owned = new Owned();
  private final Tensor step;

  /** Of each rank. */
  private final List<Tensor> steps = new ArrayList<>();

  private final @Nullable IValue integersOfRank0;
  private final CompiledFunctions.@Nullable Call copyIntegers;
  private final List<Part> myParts = new ArrayList<>();

  /** All parts, in their order. */
  private final List<Part> parts = new ArrayList<>();

  /**
   * @param rank of this replica
   * @param ranges the parts that each rank trains, in the ranks' order
   * @param mine this rank's {@link #words} words, int64: the step, the integer buffers, then loss
   *     and correct of each part
   * @param everyones each rank's, once they have been exchanged
   */
  StepReports(
      int rank,
      List<ShardRange> ranges,
      List<Tensor> integerBuffers,
      Tensor mine,
      List<Tensor> everyones,
      CompiledFunctions functions) {
    long head = 1 + ExactSum.floats(integerBuffers);
    this.step = owned.keep(mine.select(0, 0));
    for (int of = 0; of < ranges.size(); of++) {
      steps.add(owned.keep(everyones.get(of).select(0, 0)));
      addParts(parts, everyones.get(of), head, ranges.get(of));
    }
    addParts(myParts, mine, head, ranges.get(rank));
    if (integerBuffers.isEmpty()) {
      this.integersOfRank0 = null;
      this.copyIntegers = null;
    } else {
      CompiledFunctions kept = functions.keptBy(owned);
      IValue integers = kept.list(views(mine, integerBuffers));
      this.integersOfRank0 = kept.list(views(everyones.get(0), integerBuffers));
      this.copyIntegers = kept.call("copy", 3).set(0, integers).set(2, 0L);
    }
  }

  /** 64-bit words of one rank's reports. */
  static long words(List<ShardRange> ranges, List<Tensor> integerBuffers) {
    int most = ranges.stream().mapToInt(range -> range.to() - range.from()).max().orElse(0);
    return 1 + ExactSum.floats(integerBuffers) + 2L * most;
  }

  private static List<Tensor> views(Tensor words, List<Tensor> like) {
    return ExactSum.views(words.narrow(0, 1, ExactSum.floats(like)), like);
  }

  private void addParts(List<Part> list, Tensor words, long head, ShardRange range) {
    Tensor numbers = words.view(ScalarType.Double);
    for (int i = 0; i < range.to() - range.from(); i++) {
      list.add(
          new Part(
              owned.keep(numbers.select(0, head + 2L * i)),
              owned.keep(numbers.select(0, head + 2L * i + 1))));
    }
  }

  /** A part of this replica's, counted from its first. */
  Part part(int index) {
    return myParts.get(index);
  }

  /** Completes this rank's words, to be sent then. */
  void fill(long number, @Nullable IValue integerBuffers) {
    step.fill_(new Scalar(number));
    if (copyIntegers != null && integerBuffers != null) {
      copyIntegers.set(1, integerBuffers).apply();
      copyIntegers.clear(1);
    }
  }

  /** Rank 0's integer buffers as a list, once everything is here; null without any. */
  @Nullable IValue integersOfRank0() {
    return integersOfRank0;
  }

  /**
   * Adds everyone's parts to the sums, once everything is here.
   *
   * @param bounds of the parts, in samples of the global batch
   * @throws IllegalStateException where a rank made another step
   */
  void addTo(RunningSums sums, int[] bounds, long number) {
    for (Tensor theirs : steps) {
      if (theirs.item_long() != number) {
        throw new IllegalStateException(
            "a replica makes step " + theirs.item_long() + ", this one " + number);
      }
    }
    int all = bounds[bounds.length - 1];
    for (int i = 0; i < parts.size(); i++) {
      int samples = bounds[i + 1] - bounds[i];
      if (samples > 0) {
        Part part = parts.get(i);
        sums.addTrained(part.loss(), part.correct(), samples, all);
      }
    }
  }

  @Override
  public void close() {
    owned.close();
  }
}
