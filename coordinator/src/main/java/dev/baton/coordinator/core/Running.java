package dev.baton.coordinator.core;

import dev.baton.v1.Progress;
import dev.baton.v1.ReplicaProgress;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A job whose lease stands, with what stays in memory of it. */
final class Running {
  Job job;
  Attempt attempt;
  final Requirements needs;
  Progress progress;

  /** By rank. */
  final List<Replica> replicas = new ArrayList<>();

  /** Null where the job never has more than one replica. */
  final @Nullable Group group;

  /** When its timer rings; {@link Long#MAX_VALUE}: none is set. */
  long timerNanos = Long.MAX_VALUE;

  /** The lease has ended and waits for somebody to take the next term. */
  boolean available;

  /** Nobody's silence counts before. */
  long quietUntilNanos = Long.MIN_VALUE;

  /** Why what it last wanted to store was refused, until a checkpoint is committed; empty: no. */
  String notStored = "";

  /** Where the job's log ends; null: ask the store. */
  @Nullable LogPosition logEnd;

  Running(Job job, Attempt attempt, long deadlineNanos, Now now) {
    this.job = job;
    this.attempt = attempt;
    this.needs = Requirements.of(job);
    this.progress = job.progress();
    this.group = needs.maxReplicas() > 1 ? new Group() : null;
    for (Lease.Member member : attempt.lease().members()) {
      replicas.add(new Replica(replicas.size(), member, deadlineNanos, now.nanos()));
    }
  }

  Lease lease() {
    return attempt.lease();
  }

  /** Rank 0, which speaks for the job. */
  Replica first() {
    return replicas.get(0);
  }

  /** The job as one that waits for a worker. */
  Waiting waiting() {
    return new Waiting(
        job.id(), job.submission().seq(), needs, job.kind().machine(), "", Long.MIN_VALUE);
  }

  /**
   * Keeps what memory has of the same lease. Whether the replicas were told that all of them are
   * ready is not known: they are told again.
   */
  void keep(Running known) {
    for (Replica replica : replicas) {
      Replica before = known.replicas.get(replica.rank);
      replica.deadlineNanos = before.deadlineNanos;
      replica.heardNanos = before.heardNanos;
      replica.brokenAtNanos = before.brokenAtNanos;
      replica.listed = before.listed;
      replica.stateless = before.stateless;
      replica.broke = before.broke;
      replica.waiting = before.waiting;
      replica.port = before.port;
      replica.continues = before.continues;
      replica.progress = before.progress;
    }
    Group group = this.group;
    Group was = known.group;
    if (group != null && was != null) {
      group.follows = was.follows;
      group.formByNanos = was.formByNanos;
      group.broken = was.broken;
      group.brokenMessage = was.brokenMessage;
      group.decideAtNanos = was.decideAtNanos;
      group.suspectNanos = was.suspectNanos;
      group.fruitless = was.fruitless;
      group.handOverByNanos = was.handOverByNanos;
      group.avoidUntil.putAll(was.avoidUntil);
      group.losses.putAll(was.losses);
    }
  }

  /** Why its lease ended, or would. */
  String endReason() {
    for (Replica replica : replicas) {
      if (replica.brokenAtNanos != Long.MAX_VALUE) {
        return "worker lost";
      }
    }
    return "lease expired";
  }

  /** The job's progress, with that of a gang's members. */
  Progress progressOfAll() {
    if (group == null) {
      return progress;
    }
    Progress.Builder all = progress.toBuilder().clearReplicas().clearSlowestRank();
    ReplicaProgress slowest = null;
    for (Replica replica : replicas) {
      ReplicaProgress reported = replica.progress;
      if (reported != null) {
        all.addReplicas(reported);
        if (slowest == null || reported.getAllReduce() < slowest.getAllReduce()) {
          slowest = reported;
        }
      }
    }
    if (slowest != null && replicas.size() > 1) {
      all.setSlowestRank(slowest.getRank());
    }
    return all.build();
  }
}
