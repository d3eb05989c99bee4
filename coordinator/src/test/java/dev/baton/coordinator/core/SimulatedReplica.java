package dev.baton.coordinator.core;

import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.DamagedCheckpoint;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.MetricPoint;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;

/** One replica of a job under a lease. */
final class SimulatedReplica {
  private final SimulatedWorker worker;
  LeaseRef lease;
  Assignment assignment;
  final long steps;
  final long stepNanos;
  long deadline;
  boolean dropped;
  boolean begun;
  boolean uploading;
  boolean handOver;
  boolean stepping;

  /** Its trainer has ended, and the coordinator is being told. */
  boolean ending;

  /** What it is told; UNSPECIFIED: a last checkpoint, with which the lease goes back. */
  AttemptOutcome outcome = AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED;

  /** Of the step that is under way: timers of one that was given up mean nothing. */
  long turn;

  /** It waits for the others to end a step. */
  boolean arrived;

  long resumed;
  long step;
  long state;
  long committedStep;

  /** The state is there. */
  boolean restored;

  /** It was in memory since the term before. */
  boolean follows;

  String checkpointId = "";
  List<DamagedCheckpoint> damaged = List.of();
  @Nullable SimulatedGroup group;

  /** What the coordinator may not have heard; said again in each session. */
  @Nullable BiFunction<Scheduler, Now, Object> said;

  final List<MetricPoint> points = new ArrayList<>();

  SimulatedReplica(
      SimulatedWorker worker,
      LeaseRef lease,
      Assignment assignment,
      long deadline,
      long stepNanos) {
    this.worker = worker;
    this.lease = lease;
    this.assignment = assignment;
    this.steps =
        assignment.getSpec().getData().getTrain().getSynthetic().getRegression().getSamples();
    this.deadline = deadline;
    this.stepNanos = stepNanos;
  }

  boolean inGang() {
    return !assignment.getGroup().isEmpty();
  }

  /** Its end carries what rank 0 alone may store. */
  boolean hasLastWordOfRankZero() {
    return outcome == AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED
        || outcome == AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED;
  }

  /** The step that is under way, if any, comes to nothing. */
  void giveUpStep() {
    turn++;
    stepping = false;
    arrived = false;
  }

  SimulatedWorker worker() {
    return worker;
  }
}
