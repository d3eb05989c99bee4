package dev.baton.worker.bench;

import dev.baton.v1.Adam;
import dev.baton.v1.BuiltinModel;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.v1.Model;
import dev.baton.v1.Optimizer;
import dev.baton.v1.Replicas;
import dev.baton.v1.Sgd;
import dev.baton.v1.Training;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** What is measured: the same four trainings as in PyTorch's own front end. */
enum Workload {
  /** A million samples, full batch, 500 steps. */
  LINREG("linear", Loss.LOSS_MSE, adam(0.1), 1_000_000, 503, false),
  /** CIFAR-10's shapes, batch 4, random pictures. */
  LENET_CIFAR("lenet", Loss.LOSS_CROSS_ENTROPY, sgd(0.001, 0.9), 4, 4_000, true),
  /** MNIST itself, one epoch. */
  MNIST_CNN("mnist-cnn", Loss.LOSS_CROSS_ENTROPY, adam(0.02), 128, 468, true),
  /** FashionMNIST's pictures at 96x96, random. */
  RESNET18("resnet18-d2l", Loss.LOSS_CROSS_ENTROPY, adam(0.001), 256, 6, true);

  private final String model;
  private final Loss loss;
  private final Optimizer optimizer;
  private final int batch;
  private final int steps;
  private final boolean shuffle;

  Workload(String model, Loss loss, Optimizer optimizer, int batch, int steps, boolean shuffle) {
    this.model = model;
    this.loss = loss;
    this.optimizer = optimizer;
    this.batch = batch;
    this.steps = steps;
    this.shuffle = shuffle;
  }

  static Optional<Workload> of(String label) {
    return Arrays.stream(values()).filter(w -> w.label().equals(label)).findFirst();
  }

  static List<String> labels() {
    return Arrays.stream(values()).map(Workload::label).toList();
  }

  /** As the command line has it. */
  String label() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  int batch() {
    return batch;
  }

  /** Steps of a run, those that warm up included. */
  int steps() {
    return steps;
  }

  boolean shuffle() {
    return shuffle;
  }

  /**
   * As a job's file would have it.
   *
   * @param shards of every batch
   * @param exact whether replicas shall give the same bits
   */
  JobSpec job(int shards, boolean exact) {
    return JobSpec.newBuilder()
        .setModel(Model.newBuilder().setBuiltin(BuiltinModel.newBuilder().setName(model)))
        .setTraining(
            Training.newBuilder()
                .setBatchSize(batch)
                .setLoss(loss)
                .setSeed(1)
                .setExact(exact)
                .setOptimizer(optimizer))
        .setReplicas(Replicas.newBuilder().setShards(shards))
        .build();
  }

  private static Optimizer adam(double lr) {
    return Optimizer.newBuilder().setAdam(Adam.newBuilder().setLr(lr)).build();
  }

  private static Optimizer sgd(double lr, double momentum) {
    return Optimizer.newBuilder().setSgd(Sgd.newBuilder().setLr(lr).setMomentum(momentum)).build();
  }
}
