package dev.baton.coordinator.core;

import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.Draining;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.Hello;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Machine;
import dev.baton.v1.Offer;
import dev.baton.v1.OrderKind;
import dev.baton.v1.Probe;
import dev.baton.v1.ProbeResult;
import dev.baton.v1.ProbeTarget;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;

/**
 * A worker daemon as the design has it: it counts its leases from the sending of the heartbeat that
 * renewed them, and drops what it learns is over. {@link SimulatedTrainers} do its work.
 */
final class SimulatedWorker {
  private final Simulation world;
  private final String name;
  private final int slots;
  private final String host;
  private final boolean advertises;
  private final boolean replicas;
  private int incarnation;
  private boolean alive;
  private String id = "";
  private long frozenUntil;
  private long cutOffUntil;
  private long session;
  private Simulation.@Nullable Stream stream;
  private boolean draining;
  private long seq;
  private final Map<Long, Long> sentAt = new HashMap<>();
  private long helloSentAt;
  final Map<LeaseRef, SimulatedReplica> holds = new LinkedHashMap<>();
  private final Set<String> prepared = new HashSet<>();

  /** What its trainers do. */
  final SimulatedTrainers trainers;

  /**
   * @param host equal for workers that share a machine
   * @param advertises whether those of other machines can reach it
   * @param replicas whether its libtorch has collectives
   */
  SimulatedWorker(
      Simulation world, String name, int slots, String host, boolean advertises, boolean replicas) {
    this.world = world;
    this.name = name;
    this.slots = slots;
    this.host = host;
    this.advertises = advertises;
    this.replicas = replicas;
    this.trainers = new SimulatedTrainers(world, this);
  }

  int slots() {
    return slots;
  }

  String host() {
    return host;
  }

  boolean alive() {
    return alive;
  }

  boolean holdsNothing() {
    return holds.isEmpty();
  }

  String name() {
    return name;
  }

  String id() {
    return id;
  }

  long session() {
    return session;
  }

  boolean draining() {
    return draining;
  }

  int incarnation() {
    return incarnation;
  }

  boolean cutOff() {
    return world.time() < cutOffUntil;
  }

  /**
   * Runs an action of this process later; not if it is dead by then, and not while it is frozen.
   */
  void after(long nanos, int inIncarnation, Runnable action) {
    world.after(
        nanos,
        () -> {
          if (!alive || incarnation != inIncarnation) {
            return;
          }
          if (world.time() < frozenUntil) {
            after(frozenUntil - world.time() + 1, inIncarnation, action);
          } else {
            action.run();
          }
        });
  }

  void after(long nanos, Runnable action) {
    after(nanos, incarnation, action);
  }

  @Override
  public String toString() {
    StringBuilder text = new StringBuilder(id).append(alive ? " alive" : " dead");
    for (SimulatedReplica hold : holds.values()) {
      text.append(" [").append(hold.lease.getJobId()).append(" term ").append(hold.lease.getTerm());
      text.append(" step ").append(hold.step).append(" of ").append(hold.steps);
      text.append(" committed ").append(hold.committedStep).append(hold.begun ? " begun" : "");
      text.append(hold.uploading ? " uploading" : "").append(hold.handOver ? " hand-over" : "");
      text.append(hold.ending ? " ending" : "").append(hold.stepping ? " stepping" : "");
      text.append(" rank ").append(hold.lease.getRank());
      text.append(hold.group == null ? " alone" : " in group");
      text.append(hold.restored ? "" : " not restored").append(hold.said == null ? "" : " said");
      text.append(" deadline in ").append((hold.deadline - world.time()) / Simulation.MS);
      text.append(" ms]");
    }
    return text.toString();
  }

  // ---- Life and death

  void start() {
    incarnation++;
    alive = true;
    id = name + "-" + incarnation;
    session = 0;
    seq = 0;
    stream = null;
    draining = false;
    holds.clear();
    prepared.clear();
    sentAt.clear();
    connect();
    beat();
  }

  void crash(long away) {
    if (!alive) {
      return;
    }
    alive = false;
    boolean noticed = world.chance(0.8);
    for (SimulatedReplica hold : holds.values()) {
      SimulatedTrainers.leaveGroup(hold, noticed);
    }
    Simulation.Stream broken = world.streamOf(id);
    if (broken != null) {
      broken.snap(world.chance(0.8));
    }
    world.after(
        away,
        () -> {
          if (!alive) {
            start();
          }
        });
  }

  void freeze(long nanos) {
    frozenUntil = world.time() + nanos;
  }

  void cutOff(long nanos) {
    cutOffUntil = world.time() + nanos;
    Simulation.Stream cut = world.streamOf(id);
    if (cut != null) {
      cut.snap(world.chance(0.5));
    }
  }

  void drain() {
    if (!alive || draining) {
      return;
    }
    draining = true;
    send(
        (core, now) -> {
          core.draining(id, session, Draining.newBuilder().setReason("SIGTERM").build(), now);
          return "";
        });
    List.copyOf(holds.values()).forEach(trainers::handOver);
    leaveWhenEmpty();
  }

  private void leaveWhenEmpty() {
    if (draining && holds.isEmpty() && alive) {
      crash(world.between(Simulation.SECOND, 5 * Simulation.SECOND));
    }
  }

  void killTrainer(AttemptOutcome outcome) {
    for (SimulatedReplica hold : holds.values()) {
      if (hold.begun && !hold.ending) {
        if (outcome == AttemptOutcome.ATTEMPT_OUTCOME_CRASHED) {
          world.crashesReported++;
        }
        trainers.finish(hold, outcome);
        return;
      }
    }
  }

  // ---- The session

  private void connect() {
    if (!world.coordinatorUp() || cutOff()) {
      after(250 * Simulation.MS, this::connect);
      return;
    }
    session++;
    Simulation.Stream opened = world.new Stream(this, id, session);
    stream = opened;
    sentAt.clear();
    helloSentAt = world.time();
    Hello hello =
        Hello.newBuilder()
            .setWorkerId(id)
            .setName(name)
            .setSession(session)
            .setSlots(slots)
            .setDraining(draining)
            .setProtocol(Scheduler.PROTOCOL)
            .setHostId(host)
            .setAdvertiseHost(advertises ? host : "")
            .setProbePort(1)
            .setReplicas(replicas)
            .setMachine(
                Machine.newBuilder()
                    .setCpuModel("simulated")
                    .setCpus(4)
                    .setMemoryBytes(8L << 30)
                    .setLibtorch("0"))
            .addAllLeases(holds.values().stream().map(hold -> hold.lease).toList())
            .build();
    opened.hello(
        (core, now) -> {
          core.openSession(hello, now);
          return "";
        });
  }

  void streamBroke(Simulation.Stream broken) {
    if (stream == broken) {
      stream = null;
      after(world.between(Simulation.MS, 400 * Simulation.MS), this::connect);
    }
  }

  void send(BiFunction<Scheduler, Now, Object> body) {
    send(body, false);
  }

  void send(BiFunction<Scheduler, Now, Object> body, boolean matters) {
    Simulation.Stream open = stream;
    if (open != null && open.open()) {
      open.toCoordinator(body, matters);
    }
  }

  private void beat() {
    long in = session;
    if (stream != null) {
      long number = ++seq;
      sentAt.put(number, world.time());
      Heartbeat heartbeat =
          Heartbeat.newBuilder()
              .setSeq(number)
              .addAllLeases(holds.values().stream().map(hold -> hold.lease).toList())
              .addAllPreparedJobs(prepared)
              .build();
      send(
          (core, now) -> {
            core.heartbeat(id, in, heartbeat, now);
            return "";
          });
      // A stream that answers nothing any more is half open: give it up.
      Long oldest = sentAt.get(number - 4);
      Simulation.Stream silent = stream;
      if (oldest != null && silent != null) {
        sentAt.clear();
        silent.snap(false);
      }
    }
    after(Simulation.POLICY.heartbeat().toNanos(), this::beat);
  }

  void receive(Simulation.Stream from, CoordinatorMessage message) {
    if (from != stream) {
      return;
    }
    switch (message.getMessageCase()) {
      case WELCOME -> {
        renew(message.getWelcome().getRenewedList(), helloSentAt);
        drop(message.getWelcome().getEndedList());
        for (SimulatedReplica hold : List.copyOf(holds.values())) {
          BiFunction<Scheduler, Now, Object> said = hold.said;
          if (said != null) {
            send(said, true);
          }
        }
      }
      case HEARTBEAT_REPLY -> {
        Long sent = sentAt.get(message.getHeartbeatReply().getSeq());
        sentAt.keySet().removeIf(s -> s <= message.getHeartbeatReply().getSeq());
        if (sent != null) {
          renew(message.getHeartbeatReply().getRenewedList(), sent);
        }
        drop(message.getHeartbeatReply().getEndedList());
      }
      case OFFER -> take(message.getOffer());
      case GROUP_READY -> {
        SimulatedReplica hold = holds.get(message.getGroupReady().getLease());
        if (hold != null && hold.said != null && hold.group == null && !hold.ending) {
          hold.said = null;
          world.group(hold.assignment).join(hold);
        }
      }
      case CHECKPOINT_KEPT -> {
        SimulatedReplica hold = holds.get(message.getCheckpointKept().getLease());
        if (hold != null) {
          SimulatedTrainers.kept(hold, message.getCheckpointKept().getStep());
        }
      }
      case PROBE -> probe(message.getProbe());
      case PREPARE -> prepared.add(message.getPrepare().getAssignment().getJobId());
      case UNPREPARE -> prepared.remove(message.getUnprepare().getJobId());
      case ORDER -> {
        if (message.getOrder().getKind() == OrderKind.ORDER_KIND_DRAIN) {
          drain();
          return;
        }
        SimulatedReplica hold = holds.get(message.getOrder().getLease());
        if (hold != null) {
          if (message.getOrder().getKind() == OrderKind.ORDER_KIND_CANCEL) {
            drop(hold);
          } else {
            trainers.handOver(hold);
          }
        }
      }
      default -> throw new Simulation.Broken("unexpected " + message);
    }
  }

  private void renew(List<LeaseRef> renewed, long sent) {
    for (LeaseRef lease : renewed) {
      SimulatedReplica hold = holds.get(lease);
      if (hold != null) {
        hold.deadline = Math.max(hold.deadline, sent + Simulation.POLICY.lease().toNanos());
      }
    }
  }

  private void drop(List<LeaseRef> ended) {
    for (LeaseRef lease : ended) {
      SimulatedReplica hold = holds.get(lease);
      if (hold != null) {
        drop(hold);
      }
    }
  }

  void drop(SimulatedReplica hold) {
    hold.dropped = true;
    SimulatedTrainers.leaveGroup(hold, true);
    holds.remove(hold.lease, hold);
    leaveWhenEmpty();
  }

  // ---- A lease

  private void take(Offer offer) {
    LeaseRef lease = offer.getLease();
    Assignment assignment = offer.getAssignment();
    if (offer.hasContinues()) {
      SimulatedReplica before = holds.get(offer.getContinues());
      if (before != null && !before.ending) {
        trainers.follow(before, lease, assignment);
        return;
      }
      if (before != null && (lease.getRank() == 0 || !before.hasLastWordOfRankZero())) {
        trainers.tellAgain(before, lease, assignment);
        return;
      }
    }
    for (SimulatedReplica old : List.copyOf(holds.values())) {
      if (old.lease.getJobId().equals(lease.getJobId())) {
        if (old.lease.equals(lease) || old.lease.getTerm() > lease.getTerm()) {
          return;
        }
        if (!old.inGang()) {
          if (old.lease.getTerm() == lease.getTerm()) {
            return;
          }
          drop(old);
        }
      }
    }
    boolean joins = prepared.remove(lease.getJobId()) && assignment.getJoins();
    SimulatedReplica hold =
        new SimulatedReplica(
            this,
            lease,
            assignment,
            world.time() + Simulation.POLICY.lease().toNanos(),
            world.between(30 * Simulation.MS, 300 * Simulation.MS));
    if (!alive
        || draining
        || holds.size() >= slots
        || offer.hasContinues()
        || assignment.getJoins() != joins) {
      trainers.finish(hold, AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
      return;
    }
    holds.put(lease, hold);
    if (joins) {
      hold.step = -1;
      hold.restored = true;
      trainers.waits(hold);
    } else {
      trainers.restore(hold, 0, new ArrayList<>());
    }
  }

  private void probe(Probe probe) {
    ProbeResult.Builder result = ProbeResult.newBuilder().setProbeId(probe.getProbeId());
    for (ProbeTarget target : probe.getTargetsList()) {
      for (SimulatedWorker other : world.workers) {
        if (other.id.equals(target.getWorkerId()) && other.alive && world.reaches(this, other)) {
          result.addWorkerIds(other.id);
        }
      }
    }
    after(
        world.between(Simulation.MS, 2_200 * Simulation.MS),
        () ->
            send(
                (core, now) -> {
                  core.probeResult(id, session, result.build(), now);
                  return "";
                }));
  }
}
