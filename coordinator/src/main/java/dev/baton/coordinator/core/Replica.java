package dev.baton.coordinator.core;

import dev.baton.v1.LeaseRef;
import dev.baton.v1.ReplicaProgress;
import org.jspecify.annotations.Nullable;

/** One rank under a lease, with what stays in memory of it. */
final class Replica {
  final int rank;
  final Lease.Member member;

  /** When its part of the lease ends unless it is renewed. */
  long deadlineNanos;

  /** When its worker last listed it, or it was granted. */
  long heardNanos;

  /** When its worker's stream broke; {@link Long#MAX_VALUE} while it stands. */
  long brokenAtNanos = Long.MAX_VALUE;

  /** Its worker has listed it: it has heard of the offer. */
  boolean listed;

  /** It has joined, and no group has formed since that would have given it the state. */
  boolean stateless;

  /** Its worker does not run it any more. */
  boolean gaveUp;

  /** It says that its group cannot go on. */
  boolean broke;

  /** It has left the group before, and can begin. */
  boolean waiting;

  /** Where its store listens; rank 0 alone. */
  int port;

  /** What its lease follows; null where its trainer is a new one. */
  @Nullable LeaseRef continues;

  /** Null until it reports. */
  @Nullable ReplicaProgress progress;

  Replica(int rank, Lease.Member member, long deadlineNanos, long heardNanos) {
    this.rank = rank;
    this.member = member;
    this.deadlineNanos = deadlineNanos;
    this.heardNanos = heardNanos;
  }

  String workerId() {
    return member.workerId();
  }

  String workerName() {
    return member.workerName();
  }
}
