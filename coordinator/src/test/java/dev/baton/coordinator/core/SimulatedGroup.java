package dev.baton.coordinator.core;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * A group of trainers as c10d makes one: it stands once all have come; all take the state of
 * whoever is farthest; a step ends for each when all have taken part; and it breaks for all when
 * one is gone.
 */
final class SimulatedGroup {
  private static final long FORM_NANOS = 5 * Simulation.SECOND;

  private final Simulation world;
  private final int size;
  private final Map<Integer, SimulatedReplica> members = new TreeMap<>();
  private final List<SimulatedReplica> arrived = new ArrayList<>();
  private boolean stands;
  private boolean broken;

  SimulatedGroup(Simulation world, int size) {
    this.world = world;
    this.size = size;
  }

  /** A trainer meets the others. */
  void join(SimulatedReplica hold) {
    hold.group = this;
    if (broken || stands) {
      tell(hold);
      return;
    }
    if (members.isEmpty()) {
      world.after(
          FORM_NANOS,
          () -> {
            if (!stands) {
              breakUp();
            }
          });
    }
    members.put(hold.lease.getRank(), hold);
    if (members.size() == size && allReach()) {
      world.after(world.between(Simulation.MS, 50 * Simulation.MS), this::form);
    }
  }

  private boolean allReach() {
    for (SimulatedReplica a : members.values()) {
      for (SimulatedReplica b : members.values()) {
        if (!world.reaches(a.worker(), b.worker())) {
          return false;
        }
      }
    }
    return true;
  }

  private void form() {
    if (broken || members.size() < size) {
      return;
    }
    stands = true;
    SimulatedReplica source =
        members.values().stream().max(Comparator.comparingLong(h -> h.step)).orElseThrow();
    long step = source.step;
    long state = source.state;
    long committed = source.committedStep;
    var points = List.copyOf(source.points);
    for (SimulatedReplica hold : members.values()) {
      deliver(
          hold,
          () -> {
            hold.step = step;
            hold.state = state;
            if (hold != source) {
              hold.committedStep = committed;
              hold.points.clear();
              hold.points.addAll(points);
            }
            hold.worker().trainers.formed(hold);
          });
    }
  }

  /** A trainer has done its part of a step. */
  void arrive(SimulatedReplica hold) {
    if (broken) {
      return;
    }
    arrived.add(hold);
    if (arrived.size() == size) {
      List<SimulatedReplica> all = List.copyOf(arrived);
      arrived.clear();
      if (allReach()) {
        all.forEach(h -> deliver(h, () -> h.worker().trainers.stepped(h)));
      } else {
        breakUp();
      }
    }
  }

  private void deliver(SimulatedReplica hold, Runnable action) {
    hold.worker()
        .after(
            world.between(Simulation.MS / 10, 4 * Simulation.MS),
            hold.worker().incarnation(),
            () -> {
              if (!hold.dropped && hold.group == this) {
                action.run();
              }
            });
  }

  /** Its connections are closed, or nobody notices: its machine is gone. */
  void leave(SimulatedReplica hold, boolean noticed) {
    hold.group = null;
    members.remove(hold.lease.getRank(), hold);
    arrived.remove(hold);
    if (noticed) {
      breakUp();
    }
  }

  private void breakUp() {
    if (!broken) {
      broken = true;
      List.copyOf(members.values()).forEach(this::tell);
    }
  }

  private void tell(SimulatedReplica hold) {
    hold.worker()
        .after(
            world.between(Simulation.MS, 40 * Simulation.MS),
            hold.worker().incarnation(),
            () -> {
              if (!hold.dropped && hold.group == this) {
                hold.group = null;
                hold.worker().trainers.broke(hold);
              }
            });
  }
}
