package dev.baton.coordinator.core;

import java.util.random.RandomGenerator;

/** Random names: lower-case letters and digits without those that look alike. */
final class Ids {
  private static final char[] ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789".toCharArray();

  private Ids() {}

  /** Twelve characters of a job: 59 bits. */
  static String job(RandomGenerator random) {
    return random(random, 12);
  }

  /** Twenty characters of a lease: 99 bits, not to be guessed. */
  static String lease(RandomGenerator random) {
    return random(random, 20);
  }

  private static String random(RandomGenerator random, int length) {
    char[] id = new char[length];
    for (int i = 0; i < length; i++) {
      id[i] = ALPHABET[random.nextInt(ALPHABET.length)];
    }
    return new String(id);
  }
}
