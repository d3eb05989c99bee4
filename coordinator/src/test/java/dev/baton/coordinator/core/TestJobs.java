package dev.baton.coordinator.core;

import dev.baton.v1.BuiltinModel;
import dev.baton.v1.Data;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.v1.Model;
import dev.baton.v1.Optimizer;
import dev.baton.v1.Resources;
import dev.baton.v1.Sgd;
import dev.baton.v1.Source;
import dev.baton.v1.Synthetic;
import dev.baton.v1.SyntheticRegression;
import dev.baton.v1.Training;

/** The job that tests submit. */
final class TestJobs {
  private TestJobs() {}

  /** A linear regression on data that it makes itself: one epoch, on one CPU and 1 GiB each. */
  static JobSpec.Builder regression(long samples, int batchSize) {
    return JobSpec.newBuilder()
        .setName("regression")
        .setModel(Model.newBuilder().setBuiltin(BuiltinModel.newBuilder().setName("linear")))
        .setData(
            Data.newBuilder()
                .setTrain(
                    Source.newBuilder()
                        .setSynthetic(
                            Synthetic.newBuilder()
                                .setRegression(
                                    SyntheticRegression.newBuilder().setSamples(samples)))))
        .setTraining(
            Training.newBuilder()
                .setEpochs(1)
                .setBatchSize(batchSize)
                .setLoss(Loss.LOSS_MSE)
                .setOptimizer(Optimizer.newBuilder().setSgd(Sgd.newBuilder().setLr(0.1))))
        .setResources(Resources.newBuilder().setGpus(0).setCpus(1).setMemory(1L << 30));
  }
}
