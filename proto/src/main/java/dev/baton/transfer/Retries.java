package dev.baton.transfer;

import java.time.Duration;

/**
 * How long a transfer keeps trying.
 *
 * @param attempts how often in a row it may fail without a byte of progress
 * @param firstWait before the second attempt; doubled before each further one
 * @param maxWait what a wait grows to
 * @param stall the silence after which an attempt counts as failed
 */
public record Retries(int attempts, Duration firstWait, Duration maxWait, Duration stall) {
  /** Some 20 s of trying; a minute of silence. */
  public static final Retries DEFAULT =
      new Retries(8, Duration.ofMillis(200), Duration.ofSeconds(5), Duration.ofMinutes(1));

  /** Checks that there is an attempt at all, and that stalls end. */
  public Retries {
    if (attempts < 1 || firstWait.isNegative() || maxWait.isNegative() || stall.toMillis() < 1) {
      throw new IllegalArgumentException("at least one attempt, no negative wait, a stall limit");
    }
  }

  /** The wait after that many failures in a row, from 1. */
  Duration waitAfter(int failures) {
    Duration wait = firstWait.multipliedBy(1L << Math.min(failures - 1, 20));
    return wait.compareTo(maxWait) < 0 ? wait : maxWait;
  }
}
