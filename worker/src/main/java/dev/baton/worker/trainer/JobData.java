package dev.baton.worker.trainer;

import dev.baton.v1.Data;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Run;
import dev.baton.v1.Source;
import dev.baton.worker.data.BatchPlan;
import dev.baton.worker.data.Batches;
import dev.baton.worker.data.EvalBatches;
import dev.baton.worker.data.Replica;
import dev.baton.worker.data.SampleFormat;
import dev.baton.worker.data.SampleSource;
import dev.baton.worker.data.SampleSources;
import dev.baton.worker.data.TrainBatches;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** What a job's spec says it reads. */
final class JobData implements TrainingData {
  private final SampleSource train;
  private final @Nullable SampleSource eval;
  private final BatchPlan plan;
  private final JobSpec spec;
  private @Nullable Engine engine;

  private JobData(SampleSource train, @Nullable SampleSource eval, BatchPlan plan, JobSpec spec) {
    this.train = train;
    this.eval = eval;
    this.plan = plan;
    this.spec = spec;
  }

  static JobData open(Run run) {
    if (!run.getDevice().equals("cuda")) {
      return open(run, false);
    }
    JobData data = open(run, true);
    SampleFormat format = data.train.format();
    if (data.eval == null
        || (data.eval.format().xShape().equals(format.xShape())
            && data.eval.format().resizing().equals(format.resizing()))) {
      return data;
    }
    // The engine knows one way to treat pictures: the splits meet where they have one shape.
    data.close();
    return open(run, false);
  }

  private static JobData open(Run run, boolean resizeOnDevice) {
    Data data = run.getSpec().getData();
    SampleSource train = open(run, data.getTrain(), resizeOnDevice);
    SampleSource eval = null;
    try {
      eval = data.hasEval() ? open(run, data.getEval(), resizeOnDevice) : null;
      BatchPlan plan =
          new BatchPlan(
              train.size(),
              run.getSpec().getTraining().getBatchSize(),
              run.getSpec().getReplicas().getShards(),
              data.getTrain().getDropLast(),
              run.getSpec().getTraining().getEpochs(),
              run.getSpec().getTraining().getMaxSteps());
      return new JobData(train, eval, plan, run.getSpec());
    } catch (RuntimeException e) {
      if (eval != null) {
        eval.close();
      }
      train.close();
      throw e;
    }
  }

  @Override
  public SampleFormat format() {
    return train.format();
  }

  @Override
  public BatchPlan plan() {
    return plan;
  }

  @Override
  public void feed(Engine fed) {
    engine = fed;
  }

  @Override
  public Batches train(long firstStep, Replica replica) {
    return batches(
        Engine.Use.TRAIN,
        train,
        firstStep,
        (source, first) ->
            new TrainBatches(
                source,
                plan,
                spec.getTraining().getSeed(),
                spec.getData().getTrain().getShuffle(),
                first,
                replica.shards(plan.shards())));
  }

  @Override
  public @Nullable Batches eval(Replica replica) {
    return eval == null
        ? null
        : batches(
            Engine.Use.EVAL,
            eval,
            1,
            (source, first) ->
                new EvalBatches(
                    source,
                    spec.getData().getEval().getBatchSize(),
                    plan.shards(),
                    first,
                    replica.rank(),
                    replica.size()));
  }

  private Batches batches(
      Engine.Use use, SampleSource source, long first, DeviceBatches.Opener opener) {
    return engine == null
        ? opener.open(source, first)
        : new DeviceBatches(engine, use, source, first, opener);
  }

  @Override
  public void close() {
    train.close();
    if (eval != null) {
      eval.close();
    }
  }

  private static SampleSource open(Run run, Source source, boolean resizeOnDevice) {
    return SampleSources.open(
        source,
        run.getSpec().getData().getTransformsList(),
        run.getDatasetsList(),
        resizeOnDevice,
        Path.of(run.getDecodedDir()),
        run.getSpec().getTraining().getSeed());
  }
}
