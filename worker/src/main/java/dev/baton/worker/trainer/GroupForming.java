package dev.baton.worker.trainer;

import dev.baton.v1.CollectiveBackend;
import dev.baton.v1.GroupStands;
import dev.baton.v1.JoinGroup;
import dev.baton.worker.data.Replica;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/** Makes a run's engine a member of the groups that the daemon names, one after the other. */
final class GroupForming {
  /** To connect, once every member waits. */
  private static final Duration FORMING = Duration.ofSeconds(5);

  /**
   * For a member's part of a step. The last resort: a slow member looks like a dead one, and of
   * dead ones the coordinator learns sooner, and sends {@link JoinGroup}.
   */
  private static final Duration SILENCE = Duration.ofMinutes(10);

  private static final String LOOPBACK = "127.0.0.1";

  private final Engine engine;
  private final TrainingControl control;
  private final TrainingListener listener;
  private @Nullable JoinGroup group;

  GroupForming(Engine engine, TrainingControl control, TrainingListener listener) {
    this.engine = engine;
    this.control = control;
    this.listener = listener;
  }

  /**
   * Leaves the group that the engine is in and forms another, when all of its members wait.
   *
   * @param step that this replica's state is whole after; -1: it has none
   * @throws GroupBrokenException where it cannot be formed, or a newer one came
   */
  Engine.Standing form(JoinGroup join, long step, Engine.Standing mine)
      throws InterruptedException {
    group = join;
    engine.leave();
    Replica replica = new Replica(join.getRank(), join.getWorldSize());
    if (replica.rank() == 0 && replica.size() > 1) {
      return engine.join(
          membership(join, replica, LOOPBACK, join.getFirstPort(), join.getLastPort()),
          mine,
          port -> awaitOthers(join, step, port));
    }
    listener.groupWaiting(join, step, 0);
    GroupStands stands = awaitStands(join);
    int port = stands.getStorePort();
    return engine.join(
        membership(join, replica, stands.getStoreHost(), port, port), mine, unused -> {});
  }

  private void awaitOthers(JoinGroup join, long step, int port) {
    listener.groupWaiting(join, step, port);
    try {
      awaitStands(join);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new GroupBrokenException("interrupted while waiting for the others", e);
    }
  }

  private GroupStands awaitStands(JoinGroup join) throws InterruptedException {
    GroupStands stands = control.awaitStands(join);
    if (stands == null) {
      throw new GroupBrokenException(
          "group " + join.getGroup() + " is followed by another before it stands", null);
    }
    return stands;
  }

  private static Membership membership(
      JoinGroup join, Replica replica, String storeHost, int firstPort, int lastPort) {
    return new Membership(
        storeHost,
        firstPort,
        lastPort,
        replica,
        join.getAddress(),
        join.getBackend() == CollectiveBackend.COLLECTIVE_BACKEND_NCCL
            ? Membership.Backend.NCCL
            : Membership.Backend.GLOO,
        FORMING,
        SILENCE);
  }

  /** The group has broken, or was not formed: tells the daemon, unless a newer one is known. */
  void broken(long step, GroupBrokenException e) {
    engine.leave();
    JoinGroup was = group;
    if (!control.broken() && was != null) {
      String message = e.getMessage();
      listener.groupBroken(was, step, message == null ? e.toString() : message);
    }
  }
}
