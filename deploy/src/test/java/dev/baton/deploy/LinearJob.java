package dev.baton.deploy;

import java.time.Duration;

/** A job that finds the line again which made its samples: nothing needs to be pushed for it. */
final class LinearJob {
  private LinearJob() {}

  /**
   * Its file.
   *
   * @param epochs of one step each
   * @param interval between checkpoints
   */
  static String file(int epochs, Duration interval) {
    return """
        name: linear-regression
        model: {builtin: {name: linear}}
        data:
          train: {synthetic: {regression: {samples: 200000}}, shuffle: false}
        training:
          epochs: %d
          batch_size: 200000
          optimizer: {adam: {lr: 0.1}}
          loss: mse
          seed: 7
        checkpoint: {interval: %dms}
        """
        .formatted(epochs, interval.toMillis());
  }
}
