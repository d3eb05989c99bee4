package dev.baton.worker.trainer;

/**
 * Every random number of a job comes from its seed through one mix, so that it is a function of
 * position and no generator state needs saving. The mix is SplitMix64's finaliser (Steele, Lea,
 * Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014), applied once for each word.
 */
public final class Seeds {

  /** What random numbers are drawn for; no two purposes share a seed. */
  public enum Purpose {
    INITIALISATION(1),
    ORDER(2),
    FORWARD(3),
    AUGMENTATION(4),
    SYNTHETIC_DATA(5);

    /** Part of every result: never to be changed. */
    private final int id;

    Purpose(int id) {
      this.id = id;
    }
  }

  private static final long GOLDEN_GAMMA = 0x9E3779B97F4A7C15L;

  private Seeds() {}

  /** A 64-bit seed for (seed, purpose, a, b). */
  public static long mix(long seed, Purpose purpose, long a, long b) {
    long h = finalise(seed + GOLDEN_GAMMA);
    h = finalise(h + GOLDEN_GAMMA * purpose.id);
    h = finalise(h + GOLDEN_GAMMA + a);
    return finalise(h + GOLDEN_GAMMA + b);
  }

  /** The same, folded into the low 32 bits: libtorch's CPU generator takes no more. */
  public static long mix32(long seed, Purpose purpose, long a, long b) {
    long h = mix(seed, purpose, a, b);
    return (h ^ (h >>> 32)) & 0xFFFFFFFFL;
  }

  /** SplitMix64's output function. */
  public static long finalise(long z) {
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }
}
