package dev.baton.worker.trainer;

import dev.baton.v1.ReplicaProgress;

/**
 * What one replica does of the work of its group. Pure: time is passed in, in nanoseconds. Rates
 * are those since the report before.
 */
final class ReplicaMeter {
  private final int rank;
  private long samples;
  private long lastSamples;
  private long lastNanos;
  private long lastWaitNanos;
  private double samplesPerSecond;
  private double allReduce;

  ReplicaMeter(int rank, long now) {
    this.rank = rank;
    this.lastNanos = now;
  }

  /** Its part of a batch is trained. */
  void trained(int count) {
    samples += count;
  }

  ReplicaProgress report(Engine.Traffic traffic, long now) {
    long elapsed = Math.max(1, now - lastNanos);
    if (samples > lastSamples) {
      samplesPerSecond = (samples - lastSamples) * 1e9 / elapsed;
      allReduce = Math.min(1, (double) (traffic.nanos() - lastWaitNanos) / elapsed);
    }
    lastNanos = now;
    lastSamples = samples;
    lastWaitNanos = traffic.nanos();
    return ReplicaProgress.newBuilder()
        .setRank(rank)
        .setSamplesPerSecond(samplesPerSecond)
        .setAllReduce(allReduce)
        .setBytesSent(traffic.bytesSent())
        .build();
  }
}
