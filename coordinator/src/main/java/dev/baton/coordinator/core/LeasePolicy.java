package dev.baton.coordinator.core;

import java.time.Duration;

/**
 * The timing of leases.
 *
 * @param heartbeat between a worker's heartbeats
 * @param lease how long a lease lasts from its last renewal
 * @param grace after a broken stream, before the job may go to somebody who stands ready
 */
public record LeasePolicy(Duration heartbeat, Duration lease, Duration grace) {

  public static final LeasePolicy DEFAULT =
      new LeasePolicy(Duration.ofSeconds(3), Duration.ofSeconds(15), Duration.ofSeconds(2));

  /** After which a worker that says nothing is offered nothing, and a gang goes on without it. */
  Duration silence() {
    return heartbeat.multipliedBy(5).dividedBy(2);
  }

  public LeasePolicy {
    if (heartbeat.compareTo(Duration.ofMillis(10)) < 0) {
      throw new IllegalArgumentException(
          "lease.heartbeat is " + heartbeat.toMillis() + " ms; it must be at least 10 ms");
    }
    if (lease.compareTo(heartbeat.multipliedBy(4)) < 0) {
      throw new IllegalArgumentException(
          "lease.lease is "
              + lease.toMillis()
              + " ms with a heartbeat each "
              + heartbeat.toMillis()
              + " ms; it must last at least four heartbeats");
    }
    if (grace.isNegative() || grace.compareTo(lease) > 0) {
      throw new IllegalArgumentException(
          "lease.grace is "
              + grace.toMillis()
              + " ms; it must be between 0 and the lease's "
              + lease.toMillis()
              + " ms");
    }
  }
}
