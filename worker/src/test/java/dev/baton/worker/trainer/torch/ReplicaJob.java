package dev.baton.worker.trainer.torch;

import com.google.protobuf.ByteString;
import dev.baton.v1.JobSpec;
import dev.baton.worker.data.Batch;
import dev.baton.worker.data.BatchPlan;
import dev.baton.worker.data.Batches;
import dev.baton.worker.data.EvalBatches;
import dev.baton.worker.data.Replica;
import dev.baton.worker.data.TrainBatches;
import dev.baton.worker.trainer.Engine;
import dev.baton.worker.trainer.Engine.Sums;
import dev.baton.worker.trainer.Engine.Totals;
import dev.baton.worker.trainer.GroupBrokenException;
import dev.baton.worker.trainer.Membership;
import dev.baton.worker.trainer.MemoryData;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.IntConsumer;

/** One replica of a small job, with the batches that jobs have. */
final class ReplicaJob implements AutoCloseable {
  private static final int EVAL_SAMPLES = 70;
  private static final int EVAL_BATCH = 16;

  private final JobSpec spec;
  private final MemoryData.Pictures pictures;
  private final BatchPlan plan;
  private final Engine engine;
  private int rank;
  private int size = 1;
  private long step;
  private List<ByteBuffer> saved = List.of();
  private final Map<Sums, Totals> savedSums = new EnumMap<>(Sums.class);
  private long savedStep;

  /**
   * @param description model, channels, edge, shards, "exact" or "fast", samples of a batch and of
   *     an epoch, by colons
   */
  ReplicaJob(TorchEngines engines, String description) {
    String[] parts = description.split(":", -1);
    int batch = Integer.parseInt(parts[5]);
    int shards = Integer.parseInt(parts[3]);
    JobSpec.Builder builder = Jobs.of(parts[0], Jobs.sgd(0.01, 0.9), batch, shards).toBuilder();
    switch (parts[0]) {
      case "mnist-cnn" -> builder.getTrainingBuilder().setOptimizer(Jobs.adam(0.002));
      case "resnet18" -> builder.getTrainingBuilder().setOptimizer(Jobs.sgd(0.001, 0.9));
      default -> {}
    }
    builder.getTrainingBuilder().setExact(parts[4].equals("exact"));
    this.spec = builder.build();
    this.pictures =
        new MemoryData.Pictures(
            Long.parseLong(parts[6]), Integer.parseInt(parts[1]), Integer.parseInt(parts[2]));
    this.plan = new BatchPlan(pictures.size(), batch, shards, false, 1000, 0);
    this.engine = engines.create(spec, pictures.format(), "cpu");
  }

  /** As {@link Engine#join}; a replica that was never trained alone has no state. */
  long join(Membership membership, boolean stateless, IntConsumer listening) {
    size = 1;
    try {
      // The members' memories differ, and all end with that of the one that is furthest.
      Engine.Standing mine =
          new Engine.Standing(
              stateless ? -1 : step, ByteString.copyFromUtf8("m".repeat((int) step)));
      Engine.Standing all = engine.join(membership, mine, listening);
      if (all.memory().size() != all.position()) {
        throw new IllegalStateException("the memory of another step: " + all);
      }
      step = all.position();
    } catch (GroupBrokenException e) {
      if (!e.stateWhole()) {
        step = -1;
      }
      throw e;
    }
    rank = membership.rank();
    size = membership.size();
    return step;
  }

  long step() {
    return step;
  }

  /** Trains to that step; the loss of each step. */
  double[] train(long to) throws InterruptedException {
    double[] losses = new double[(int) Math.max(0, to - step)];
    try (Batches batches =
        new TrainBatches(
            pictures,
            plan,
            spec.getTraining().getSeed(),
            true,
            step + 1,
            new Replica(rank, size).shards(plan.shards()))) {
      for (int i = 0; step < to; i++) {
        Batch batch = Objects.requireNonNull(batches.next());
        Totals before = engine.read(Sums.EPOCH);
        engine.trainStep(batch);
        batch.release();
        step++;
        Totals after = engine.read(Sums.EPOCH);
        losses[i] = (after.loss() - before.loss()) / (after.samples() - before.samples());
      }
    } catch (GroupBrokenException e) {
      size = 1;
      rank = 0;
      throw e;
    }
    return losses;
  }

  /** Sums over the evaluation samples, and by class. */
  String evaluate() throws InterruptedException {
    engine.set(Sums.EVAL, Totals.ZERO);
    MemoryData.Pictures source =
        new MemoryData.Pictures(EVAL_SAMPLES, pictures.channels(), pictures.edge());
    try (Batches batches = new EvalBatches(source, EVAL_BATCH, plan.shards(), 1, rank, size)) {
      for (Batch batch = batches.next(); batch != null; batch = batches.next()) {
        engine.evalBatch(batch);
        batch.release();
      }
    }
    return engine.read(Sums.EVAL) + " " + Arrays.deepToString(engine.evalByClass());
  }

  /** What must be the same to the bit. */
  String report() {
    return step
        + " "
        + States.sha256(engine)
        + " "
        + engine.read(Sums.LOG)
        + " "
        + engine.read(Sums.EPOCH);
  }

  void save() {
    saved = States.copy(engine);
    savedStep = step;
    for (Sums sums : Sums.values()) {
      savedSums.put(sums, engine.read(sums));
    }
  }

  /** Goes back, as if what came since had never been done. */
  void restore() {
    engine.restoreState(saved);
    savedSums.forEach(engine::set);
    step = savedStep;
  }

  @Override
  public void close() {
    engine.close();
  }
}
