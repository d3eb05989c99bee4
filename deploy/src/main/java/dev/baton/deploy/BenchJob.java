package dev.baton.deploy;

import java.io.IOException;
import java.nio.file.Path;

/** What the benchmarks train that end workers: a CNN on digits drawn for them. */
final class BenchJob {
  private BenchJob() {}

  /** A cluster without workers that keeps the digits. */
  static LocalCluster cluster(Path dir) throws IOException, InterruptedException {
    Path digits = dir.resolve("digits");
    DrawDigits.write(digits, 6_000, 500, 1);
    LocalCluster cluster = LocalCluster.start(dir.resolve("cluster"));
    cluster.baton("dataset", "push", "digits", digits.toString(), "--format", "idx").orFail();
    return cluster;
  }

  /** The job, with as many replicas as there are workers, but no more than that. */
  static String file(long steps, int replicas) {
    return """
        name: bench
        model: {builtin: {name: mnist-cnn, num_classes: 10}}
        data:
          train: {dataset: digits, split: train}
          eval: {dataset: digits, split: test}
        training:
          epochs: 100000
          max_steps: %d
          batch_size: 64
          optimizer: {adam: {lr: 0.001}}
          loss: cross_entropy
          seed: 1
        replicas: {min: 1, max: %d}
        checkpoint: {interval: 2s}
        """
        .formatted(steps, replicas);
  }
}
