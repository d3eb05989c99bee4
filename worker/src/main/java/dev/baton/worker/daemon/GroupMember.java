package dev.baton.worker.daemon;

import dev.baton.v1.Assignment;
import dev.baton.v1.DaemonMessage;
import dev.baton.v1.GroupBroken;
import dev.baton.v1.GroupReady;
import dev.baton.v1.GroupStands;
import dev.baton.v1.GroupWaiting;
import dev.baton.v1.JoinGroup;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.TrainerGroupBroken;
import dev.baton.v1.TrainerGroupFormed;
import dev.baton.v1.TrainerGroupWaiting;
import dev.baton.v1.WorkerMessage;
import dev.baton.worker.config.PortRange;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A trainer's part in the group of one term: passes between trainer and coordinator what is said
 * about that group, and nothing of an older one. A group forms and breaks once; after that only the
 * next term's counts. Runs on the loop.
 */
final class GroupMember {
  private static final Logger log = LoggerFactory.getLogger(GroupMember.class);

  private final LeaseRef lease;
  private final Assignment assignment;
  private final PortRange ports;
  private final Consumer<DaemonMessage> trainer;
  private final Consumer<WorkerMessage> coordinator;

  // What the coordinator has to know now; said again in each new session.
  private @Nullable WorkerMessage said;

  /**
   * @param assignment of this term, with its group
   * @param ports that rank 0's store may use
   */
  GroupMember(
      LeaseRef lease,
      Assignment assignment,
      PortRange ports,
      Consumer<DaemonMessage> trainer,
      Consumer<WorkerMessage> coordinator) {
    this.lease = lease;
    this.assignment = assignment;
    this.ports = ports;
    this.trainer = trainer;
    this.coordinator = coordinator;
  }

  /**
   * Has the trainer leave its group, if it is in one, and come to this one.
   *
   * @param abandon in the middle of a step too: somebody in the group before is lost
   */
  void join(boolean abandon) {
    trainer.accept(
        DaemonMessage.newBuilder()
            .setJoinGroup(
                JoinGroup.newBuilder()
                    .setGroup(assignment.getGroup())
                    .setRank(lease.getRank())
                    .setWorldSize(assignment.getWorldSize())
                    .setAddress(assignment.getAddress())
                    .setBackend(assignment.getBackend())
                    .setFirstPort(ports.first())
                    .setLastPort(ports.last())
                    .setAbandon(abandon))
            .build());
  }

  /** The trainer waits for the others. */
  void onWaiting(TrainerGroupWaiting what) {
    if (ours(what.getGroup(), "waits for")) {
      say(
          WorkerMessage.newBuilder()
              .setGroupWaiting(
                  GroupWaiting.newBuilder()
                      .setLease(lease)
                      .setStep(what.getStep())
                      .setPort(what.getPort()))
              .build());
    }
  }

  /** Everybody waits: the trainer may form the group. */
  void onReady(GroupReady ready) {
    said = null;
    trainer.accept(
        DaemonMessage.newBuilder()
            .setGroupStands(
                GroupStands.newBuilder()
                    .setGroup(assignment.getGroup())
                    .setStoreHost(ready.getStoreHost())
                    .setStorePort(ready.getStorePort()))
            .build());
  }

  /** The trainer has formed a group; false where it is not this one. */
  boolean onFormed(TrainerGroupFormed what) {
    if (!ours(what.getGroup(), "has formed")) {
      return false;
    }
    said = null;
    return true;
  }

  /** The trainer's group is broken; false where it is not this one. */
  boolean onBroken(TrainerGroupBroken what) {
    if (!ours(what.getGroup(), "has broken with")) {
      return false;
    }
    log.warn(
        "group {}, rank {}: broken after step {}: {}",
        what.getGroup(),
        lease.getRank(),
        what.getStep(),
        what.getMessage());
    say(
        WorkerMessage.newBuilder()
            .setGroupBroken(
                GroupBroken.newBuilder()
                    .setLease(lease)
                    .setStep(what.getStep())
                    .setMessage(what.getMessage()))
            .build());
    return true;
  }

  /** A session stands again: says once more what the coordinator may not have heard. */
  void again() {
    if (said != null) {
      coordinator.accept(said);
    }
  }

  private void say(WorkerMessage message) {
    said = message;
    coordinator.accept(message);
  }

  private boolean ours(String group, String does) {
    if (group.equals(assignment.getGroup())) {
      return true;
    }
    log.debug("the trainer {} group {}, not {}", does, group, assignment.getGroup());
    return false;
  }
}
