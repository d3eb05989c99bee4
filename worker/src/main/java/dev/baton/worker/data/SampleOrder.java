package dev.baton.worker.data;

import dev.baton.worker.trainer.Seeds;

/**
 * The order in which an epoch takes its samples: Fisher and Yates's shuffle (Durstenfeld's form),
 * drawing from SplitMix64 seeded by (seed, epoch). The index below n is the product of the upper 32
 * bits with n, shifted: biased by less than n / 2^32. Part of every result: never to be changed.
 */
public final class SampleOrder {
  private static final long GOLDEN_GAMMA = 0x9E3779B97F4A7C15L;

  private SampleOrder() {}

  /** A permutation of [0, samples) for an epoch (from 1). */
  public static int[] permutation(int samples, long seed, int epoch) {
    int[] order = new int[samples];
    for (int i = 0; i < samples; i++) {
      order[i] = i;
    }
    long state = Seeds.mix(seed, Seeds.Purpose.ORDER, epoch, 0);
    for (int i = samples - 1; i > 0; i--) {
      state += GOLDEN_GAMMA;
      int j = (int) (((Seeds.finalise(state) >>> 32) * (i + 1)) >>> 32);
      int swapped = order[i];
      order[i] = order[j];
      order[j] = swapped;
    }
    return order;
  }
}
