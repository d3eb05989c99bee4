package dev.baton.worker.daemon;

import dev.baton.v1.Assignment;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.DaemonMessage;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.StepProgress;
import dev.baton.v1.WorkerMessage;
import dev.baton.worker.lease.HeldLease;
import dev.baton.worker.process.TrainerProcess;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * What a run does under one lease, and how the coordinator hears of it. A run whose trainer goes on
 * in a later term has one after the other. Runs on the loop.
 */
final class Attempt {
  /** What an attempt talks to. */
  record Ends(
      Outboxes outboxes,
      AttemptOutbox.Listener outbox,
      Consumer<DaemonMessage> trainer,
      Consumer<WorkerMessage> coordinator,
      Consumer<ProgressReport> progress) {}

  private final HeldLease lease;
  private final Assignment assignment;
  private final boolean continued;
  private final Ends ends;
  private final Optional<GroupMember> group;
  private final ProgressReporter progress;

  private @Nullable LogShipper logs;
  private @Nullable AttemptOutbox outbox;
  private @Nullable String handOverReason;
  private boolean stopped;
  private long beginning;

  /**
   * @param continued whether its lease follows one that was held before
   */
  Attempt(
      JobRun.Context context,
      HeldLease lease,
      Assignment assignment,
      boolean continued,
      Ends ends) {
    this.lease = lease;
    this.assignment = assignment;
    this.continued = continued;
    this.ends = ends;
    this.group =
        assignment.getGroup().isEmpty()
            ? Optional.empty()
            : Optional.of(
                new GroupMember(
                    lease.ref(),
                    assignment,
                    context.storePorts(),
                    ends.trainer(),
                    ends.coordinator()));
    this.progress = new ProgressReporter(context.loop(), ends.progress());
  }

  HeldLease lease() {
    return lease;
  }

  int rank() {
    return lease.ref().getRank();
  }

  /** Whether its lease follows one that was held before. */
  boolean continued() {
    return continued;
  }

  /** Ranks in this term. */
  int worldSize() {
    return assignment.getWorldSize();
  }

  /** Whether other ranks wait for this one. */
  boolean inGang() {
    return assignment.getWorldSize() > 1;
  }

  /** Empty where the job never has more than one replica. */
  Optional<GroupMember> group() {
    return group;
  }

  /** Why it is to be handed over; empty where it is not. */
  Optional<String> handOverReason() {
    return Optional.ofNullable(handOverReason);
  }

  void handOver(String reason) {
    handOverReason = reason;
  }

  /** Whether the trainer has written its last snapshot and makes no further step. */
  boolean stopped() {
    return stopped;
  }

  /** The last step that the trainer reported; else that of the state it began with. */
  long lastStep() {
    return progress.lastStep(beginning);
  }

  /** Whether the coordinator has heard of a step. */
  boolean reported() {
    return progress.reported();
  }

  /** The step of the state that it begins with. */
  void beginsAt(long step) {
    beginning = step;
  }

  void onProgress(StepProgress what) {
    progress.progress(what);
  }

  /** The coordinator knows that it has begun. */
  void begun() {
    progress.begun(lease.ref());
  }

  /** A session stands again: says where it stands. */
  void again() {
    progress.again();
    group.ifPresent(GroupMember::again);
  }

  /**
   * Tells the coordinator what it begins with, and ships the trainer's log. Rank 0 alone does that.
   *
   * @param logFrom where in the trainer's output this term's log begins
   */
  void begin(Optional<TrainerProcess> trainer, long logFrom, BeginAttemptRequest.Builder request) {
    open(trainer, logFrom).begin(request.setLease(lease.ref()).build());
  }

  /** Has a snapshot uploaded and committed; false where nothing has begun that it could go to. */
  boolean snapshot(Snapshot snapshot) {
    if (outbox == null) {
      return false;
    }
    stopped |= snapshot.stopped();
    outbox.snapshot(snapshot, handOverReason().orElse("handed over"));
    return true;
  }

  /**
   * Tells the coordinator that it has ended.
   *
   * @param atOnce before anything that is still on its way
   */
  void end(
      Optional<TrainerProcess> trainer, long logFrom, AttemptOutbox.Ending ending, boolean atOnce) {
    if (atOnce) {
      closeOutbox();
    }
    open(trainer, logFrom).end(ending);
  }

  // Only once it begins or ends is it certain which trainer's log it has.
  private AttemptOutbox open(Optional<TrainerProcess> trainer, long logFrom) {
    if (logs == null && rank() == 0) {
      logs = trainer.map(process -> ends.outboxes().logs(lease, process, logFrom)).orElse(null);
      if (logs != null) {
        logs.start();
      }
    }
    AttemptOutbox opened = outbox;
    if (opened == null) {
      opened = ends.outboxes().outbox(lease, Optional.ofNullable(logs), ends.outbox());
      outbox = opened;
    }
    return opened;
  }

  /** Gives up what has not been stored. */
  void closeOutbox() {
    if (outbox != null) {
      outbox.stop();
      outbox = null;
    }
  }

  /**
   * Says nothing more; the lease is over.
   *
   * @return up to where the trainer's output has arrived; empty where none was sent
   */
  Optional<Long> close() {
    lease.end();
    progress.close();
    closeOutbox();
    if (logs == null) {
      return Optional.empty();
    }
    logs.stop();
    return Optional.of(logs.position());
  }
}
