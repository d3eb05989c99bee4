package dev.baton.worker.trainer.torch;

import dev.baton.v1.Adam;
import dev.baton.v1.BuiltinModel;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.v1.Model;
import dev.baton.v1.Optimizer;
import dev.baton.v1.Replicas;
import dev.baton.v1.Sgd;
import dev.baton.v1.Training;

/** Job specs for tests. */
final class Jobs {
  private Jobs() {}

  static JobSpec of(String model, Optimizer optimizer, int batch, int shards) {
    return JobSpec.newBuilder()
        .setModel(Model.newBuilder().setBuiltin(BuiltinModel.newBuilder().setName(model)))
        .setTraining(
            Training.newBuilder()
                .setBatchSize(batch)
                .setSeed(7)
                .setLoss(Loss.LOSS_CROSS_ENTROPY)
                .setOptimizer(optimizer))
        .setReplicas(Replicas.newBuilder().setShards(shards))
        .build();
  }

  static Optimizer sgd(double lr, double momentum) {
    return Optimizer.newBuilder().setSgd(Sgd.newBuilder().setLr(lr).setMomentum(momentum)).build();
  }

  static Optimizer adam(double lr) {
    return Optimizer.newBuilder().setAdam(Adam.newBuilder().setLr(lr)).build();
  }
}
