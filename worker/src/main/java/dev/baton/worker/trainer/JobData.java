package dev.baton.worker.trainer;

import dev.baton.v1.Data;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Run;
import dev.baton.v1.Source;
import dev.baton.worker.data.BatchPlan;
import dev.baton.worker.data.Batches;
import dev.baton.worker.data.EvalBatches;
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

  private JobData(SampleSource train, @Nullable SampleSource eval, BatchPlan plan, JobSpec spec) {
    this.train = train;
    this.eval = eval;
    this.plan = plan;
    this.spec = spec;
  }

  static JobData open(Run run) {
    Data data = run.getSpec().getData();
    SampleSource train = open(run, data.getTrain());
    SampleSource eval = null;
    try {
      eval = data.hasEval() ? open(run, data.getEval()) : null;
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
  public Batches train(long firstStep) {
    return new TrainBatches(
        train,
        plan,
        spec.getTraining().getSeed(),
        spec.getData().getTrain().getShuffle(),
        firstStep);
  }

  @Override
  public @Nullable Batches eval() {
    return eval == null
        ? null
        : new EvalBatches(
            eval, spec.getData().getEval().getBatchSize(), spec.getReplicas().getShards());
  }

  @Override
  public void close() {
    train.close();
    if (eval != null) {
      eval.close();
    }
  }

  private static SampleSource open(Run run, Source source) {
    return SampleSources.open(
        source,
        run.getSpec().getData().getTransformsList(),
        run.getDatasetsList(),
        Path.of(run.getDecodedDir()),
        run.getSpec().getTraining().getSeed());
  }
}
