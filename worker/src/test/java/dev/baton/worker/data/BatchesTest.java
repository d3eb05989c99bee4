package dev.baton.worker.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.TrainingException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class BatchesTest {
  /** x is the sample's index, y its negative. */
  private static final class Numbers implements SampleSource {
    private final int size;
    private final int bad;

    Numbers(int size, int bad) {
      this.size = size;
      this.bad = bad;
    }

    @Override
    public SampleFormat format() {
      return new SampleFormat(DType.FLOAT32, List.of(1), DType.INT64, 0, List.of());
    }

    @Override
    public long size() {
      return size;
    }

    @Override
    public void gather(int[] indices, int from, int to, ByteBuffer x, ByteBuffer y) {
      for (int k = from; k < to; k++) {
        if (indices[k] == bad) {
          throw TrainingException.userError("sample " + bad + " is bad");
        }
        x.putFloat(indices[k]);
        y.putLong(-indices[k]);
      }
    }

    @Override
    public void close() {}
  }

  private static List<List<Integer>> drain(Batches batches) throws InterruptedException {
    List<List<Integer>> seen = new ArrayList<>();
    for (Batch batch = batches.next(); batch != null; batch = batches.next()) {
      List<Integer> indices = new ArrayList<>();
      ByteBuffer x = batch.x();
      ByteBuffer y = batch.y();
      assertThat(x.isDirect()).isTrue();
      assertThat(x.order()).isEqualTo(ByteOrder.nativeOrder());
      assertThat(x.position()).isZero();
      assertThat(x.limit()).isEqualTo(4 * batch.samples());
      assertThat(y.limit()).isEqualTo(8 * batch.samples());
      for (int i = 0; i < batch.samples(); i++) {
        indices.add((int) x.getFloat(4 * i));
        assertThat(y.getLong(8 * i)).isEqualTo(-indices.get(i));
      }
      seen.add(indices);
      batch.release();
    }
    return seen;
  }

  private static Batch take(Batches batches) throws InterruptedException {
    return Objects.requireNonNull(batches.next());
  }

  @Test
  void everyEpochIsAPermutationOfItsOwn() throws InterruptedException {
    BatchPlan plan = new BatchPlan(1000, 7, 1, false, 3, 0);
    try (Batches batches = new TrainBatches(new Numbers(1000, -1), plan, 42, true, 1)) {
      List<Integer> all = drain(batches).stream().flatMap(List::stream).toList();
      assertThat(all).hasSize(3000);
      List<Integer> first = all.subList(0, 1000);
      assertThat(all.subList(1000, 2000)).isNotEqualTo(first);
      for (int epoch = 0; epoch < 3; epoch++) {
        assertThat(all.subList(1000 * epoch, 1000 * epoch + 1000).stream().sorted().toList())
            .isEqualTo(IntStream.range(0, 1000).boxed().toList());
      }
    }
  }

  @Test
  void resumesAtAnyStepWithTheSameBatches() throws InterruptedException {
    BatchPlan plan = new BatchPlan(100, 7, 2, false, 3, 40);
    List<List<Integer>> whole;
    try (Batches batches = new TrainBatches(new Numbers(100, -1), plan, 9, true, 1)) {
      whole = drain(batches);
    }
    assertThat(whole).hasSize(40);
    for (int first = 1; first <= 41; first++) {
      try (Batches batches = new TrainBatches(new Numbers(100, -1), plan, 9, true, first)) {
        assertThat(drain(batches)).isEqualTo(whole.subList(first - 1, 40));
      }
    }
  }

  @Test
  void theOrderIsPartOfEveryResult() {
    // Computed by a second implementation, in Python.
    assertThat(SampleOrder.permutation(10, 1, 1)).containsExactly(1, 6, 0, 7, 2, 4, 3, 9, 5, 8);
    assertThat(SampleOrder.permutation(10, 1, 2)).containsExactly(4, 8, 0, 3, 6, 5, 9, 1, 2, 7);
    int[] large = SampleOrder.permutation(100_000, -7, 3);
    assertThat(Arrays.stream(large).asLongStream().limit(50_000).average().orElseThrow())
        .isBetween(49_500.0, 50_500.0);
  }

  @Test
  void withoutShufflingSamplesComeAsTheyLie() throws InterruptedException {
    BatchPlan plan = new BatchPlan(5, 2, 1, false, 2, 0);
    try (Batches batches = new TrainBatches(new Numbers(5, -1), plan, 0, false, 1)) {
      assertThat(drain(batches))
          .containsExactly(
              List.of(0, 1), List.of(2, 3), List.of(4), List.of(0, 1), List.of(2, 3), List.of(4));
    }
  }

  @Test
  void batchesKnowTheirPlace() throws InterruptedException {
    BatchPlan plan = new BatchPlan(5, 4, 2, false, 2, 0);
    try (Batches batches = new TrainBatches(new Numbers(5, -1), plan, 0, true, 2)) {
      Batch batch = take(batches);
      assertThat(batch.step()).isEqualTo(2);
      assertThat(batch.shardBounds()).containsExactly(0, 1, 1);
      batch.release();
      batch = take(batches);
      assertThat(batch.step()).isEqualTo(3);
      assertThat(batch.shardBounds()).containsExactly(0, 2, 4);
      batch.release();
    }
  }

  @Test
  void replicasReadTheirShardsAlone() throws InterruptedException {
    // The last batch of an epoch is short; with 5 shards some are empty in it.
    BatchPlan plan = new BatchPlan(32, 15, 5, false, 2, 0);
    List<List<Integer>> whole;
    try (Batches batches = new TrainBatches(new Numbers(32, -1), plan, 9, true, 1)) {
      whole = drain(batches);
    }
    for (int size = 1; size <= 5; size++) {
      List<List<Integer>> joined = new ArrayList<>();
      whole.forEach(batch -> joined.add(new ArrayList<>()));
      for (int rank = 0; rank < size; rank++) {
        ShardRange held = ShardRange.of(5, rank, size);
        try (Batches batches = new TrainBatches(new Numbers(32, -1), plan, 9, true, 1, held)) {
          List<List<Integer>> parts = drain(batches);
          assertThat(parts).hasSize(whole.size());
          assertThat(parts.get(0)).hasSize(3 * (held.to() - held.from()));
          for (int i = 0; i < parts.size(); i++) {
            joined.get(i).addAll(parts.get(i));
          }
          assertThat(indices(new TrainBatches(new IndexSource(32), plan, 9, true, 1, held)))
              .isEqualTo(parts);
        }
      }
      assertThat(joined).as("%d replicas", size).isEqualTo(whole);
    }
  }

  /** Of batches by index. */
  private static List<List<Integer>> indices(Batches byIndex) throws InterruptedException {
    List<List<Integer>> seen = new ArrayList<>();
    try (byIndex) {
      for (Batch batch = byIndex.next(); batch != null; batch = byIndex.next()) {
        assertThat(batch.byIndex()).isTrue();
        List<Integer> indices = new ArrayList<>();
        for (int i = 0; i < batch.samples(); i++) {
          indices.add((int) batch.x().getLong(i * Long.BYTES));
        }
        seen.add(indices);
        batch.release();
      }
    }
    return seen;
  }

  @Test
  void replicasTakeTurnsInAnEvaluation() throws InterruptedException {
    try (Batches batches = new EvalBatches(new Numbers(17, -1), 4, 2, 1, 0, 3)) {
      assertThat(drain(batches)).containsExactly(List.of(0, 1, 2, 3), List.of(12, 13, 14, 15));
    }
    try (Batches batches = new EvalBatches(new Numbers(17, -1), 4, 2, 1, 1, 3)) {
      assertThat(drain(batches)).containsExactly(List.of(4, 5, 6, 7), List.of(16));
    }
    try (Batches batches = new EvalBatches(new Numbers(17, -1), 4, 2, 2, 2, 3)) {
      assertThat(drain(batches)).containsExactly(List.of());
    }
  }

  @Test
  void evaluationTakesEverySampleOnce() throws InterruptedException {
    try (Batches batches = new EvalBatches(new Numbers(10, -1), 4, 3)) {
      Batch first = take(batches);
      assertThat(first.step()).isEqualTo(1);
      assertThat(first.shardBounds()).containsExactly(0, 2, 3, 4);
      first.release();
      assertThat(drain(batches)).containsExactly(List.of(4, 5, 6, 7), List.of(8, 9));
      assertThat(batches.next()).isNull();
    }
  }

  @Test
  void severalBatchesMayBeHeldAndReleasedInAnyOrder() throws InterruptedException {
    BatchPlan plan = new BatchPlan(1000, 1, 1, false, 1, 0);
    try (Batches batches = new TrainBatches(new Numbers(1000, -1), plan, 3, false, 1)) {
      for (int i = 0; i < 500; i++) {
        Batch a = take(batches);
        Batch b = take(batches);
        assertThat(a.x().getFloat(0)).isEqualTo(2 * i);
        b.release();
        assertThat(a.x().getFloat(0)).isEqualTo(2 * i);
        a.release();
      }
      assertThat(batches.next()).isNull();
    }
  }

  @Test
  void aSlowProducerKeepsNobodyWaitingForEver() throws InterruptedException {
    // Few, large batches: the ring has its least depth, and producer and consumer meet often.
    BatchPlan plan = new BatchPlan(1 << 20, 1 << 20, 1, false, 20, 0);
    try (Batches batches = new TrainBatches(new Numbers(1 << 20, -1), plan, 3, false, 1)) {
      int count = 0;
      for (Batch batch = batches.next(); batch != null; batch = batches.next()) {
        count++;
        batch.release();
      }
      assertThat(count).isEqualTo(20);
      assertThat(batches.waitedNanos()).isPositive();
    }
  }

  @Test
  void misuseIsToldAtOnce() throws InterruptedException {
    BatchPlan plan = new BatchPlan(1000, 1, 1, false, 1, 0);
    try (Batches batches = new TrainBatches(new Numbers(1000, -1), plan, 3, false, 1)) {
      Batch batch = take(batches);
      batch.release();
      assertThatThrownBy(batch::release).isInstanceOf(IllegalStateException.class);
      assertThatThrownBy(batch::x).isInstanceOf(IllegalStateException.class);
      assertThatThrownBy(
              () -> {
                while (true) {
                  batches.next();
                }
              })
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("release one");
    }
  }

  @Test
  void aBadSampleEndsTheBatchesBeforeItsOwn() throws InterruptedException {
    BatchPlan plan = new BatchPlan(10, 2, 1, false, 1, 0);
    try (Batches batches = new TrainBatches(new Numbers(10, 5), plan, 3, false, 1)) {
      take(batches).release();
      take(batches).release();
      assertThatThrownBy(batches::next)
          .isInstanceOf(TrainingException.class)
          .hasMessage("sample 5 is bad");
    }
  }

  @Test
  void refusesABatchOfMoreThanTwoGigabytes() {
    BatchPlan plan = new BatchPlan(1L << 30, 1 << 30, 1, false, 1, 0);
    assertThatThrownBy(() -> new TrainBatches(new Numbers(1 << 30, -1), plan, 3, false, 1))
        .isInstanceOf(TrainingException.class)
        .hasMessageContaining("make batch_size smaller");
  }
}
