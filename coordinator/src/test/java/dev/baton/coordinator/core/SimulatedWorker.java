package dev.baton.coordinator.core;

import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.Checkpoint;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.CreateDownloadRequest;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.DamagedCheckpoint;
import dev.baton.v1.Draining;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.GroupBroken;
import dev.baton.v1.GroupWaiting;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.Hello;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Machine;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Offer;
import dev.baton.v1.OrderKind;
import dev.baton.v1.Probe;
import dev.baton.v1.ProbeResult;
import dev.baton.v1.ProbeTarget;
import dev.baton.v1.Progress;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.ReplicaProgress;
import dev.baton.v1.Result;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadPart;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A worker daemon and its trainers as the design has them: it counts its leases from the sending of
 * the heartbeat that renewed them, pauses at their deadline, commits nothing until it has asked,
 * and stops at once when it learns that a term is over.
 */
final class SimulatedWorker {
  private static final long CHECKPOINT_STEPS = 7;

  /** One replica of a job under a lease. */
  final class Hold {
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

    Hold(LeaseRef lease, Assignment assignment, long deadline, long stepNanos) {
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
      return SimulatedWorker.this;
    }
  }

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
  private final Map<LeaseRef, Hold> holds = new LinkedHashMap<>();
  private final Set<String> prepared = new HashSet<>();
  private int uploads;

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

  private void after(long nanos, Runnable action) {
    after(nanos, incarnation, action);
  }

  @Override
  public String toString() {
    StringBuilder text = new StringBuilder(id).append(alive ? " alive" : " dead");
    for (Hold hold : holds.values()) {
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
    for (Hold hold : holds.values()) {
      leaveGroup(hold, noticed);
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
    List.copyOf(holds.values()).forEach(this::handOver);
    leaveWhenEmpty();
  }

  private void leaveWhenEmpty() {
    if (draining && holds.isEmpty() && alive) {
      crash(world.between(Simulation.SECOND, 5 * Simulation.SECOND));
    }
  }

  void killTrainer(AttemptOutcome outcome) {
    for (Hold hold : holds.values()) {
      if (hold.begun && !hold.ending) {
        if (outcome == AttemptOutcome.ATTEMPT_OUTCOME_CRASHED) {
          world.crashesReported++;
        }
        finish(hold, outcome);
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

  private void send(BiFunction<Scheduler, Now, Object> body) {
    send(body, false);
  }

  private void send(BiFunction<Scheduler, Now, Object> body, boolean matters) {
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
        for (Hold hold : List.copyOf(holds.values())) {
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
        Hold hold = holds.get(message.getGroupReady().getLease());
        if (hold != null && hold.said != null && hold.group == null && !hold.ending) {
          hold.said = null;
          world.group(hold.assignment).join(hold);
        }
      }
      case CHECKPOINT_KEPT -> {
        Hold hold = holds.get(message.getCheckpointKept().getLease());
        if (hold != null) {
          kept(hold, message.getCheckpointKept().getStep());
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
        Hold hold = holds.get(message.getOrder().getLease());
        if (hold != null) {
          if (message.getOrder().getKind() == OrderKind.ORDER_KIND_CANCEL) {
            drop(hold);
          } else {
            handOver(hold);
          }
        }
      }
      default -> throw new Simulation.Broken("unexpected " + message);
    }
  }

  private void renew(List<LeaseRef> renewed, long sent) {
    for (LeaseRef lease : renewed) {
      Hold hold = holds.get(lease);
      if (hold != null) {
        hold.deadline = Math.max(hold.deadline, sent + Simulation.POLICY.lease().toNanos());
      }
    }
  }

  private void drop(List<LeaseRef> ended) {
    for (LeaseRef lease : ended) {
      Hold hold = holds.get(lease);
      if (hold != null) {
        drop(hold);
      }
    }
  }

  private void drop(Hold hold) {
    hold.dropped = true;
    leaveGroup(hold, true);
    holds.remove(hold.lease, hold);
    leaveWhenEmpty();
  }

  // ---- A lease

  private void take(Offer offer) {
    LeaseRef lease = offer.getLease();
    Assignment assignment = offer.getAssignment();
    if (offer.hasContinues()) {
      Hold before = holds.get(offer.getContinues());
      if (before != null && !before.ending) {
        follow(before, lease, assignment);
        return;
      }
      if (before != null && (lease.getRank() == 0 || !before.hasLastWordOfRankZero())) {
        tellAgain(before, lease, assignment);
        return;
      }
    }
    for (Hold old : List.copyOf(holds.values())) {
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
    Hold hold =
        new Hold(
            lease,
            assignment,
            world.time() + Simulation.POLICY.lease().toNanos(),
            world.between(30 * Simulation.MS, 300 * Simulation.MS));
    if (!alive
        || draining
        || holds.size() >= slots
        || offer.hasContinues()
        || assignment.getJoins() != joins) {
      finish(hold, AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
      return;
    }
    holds.put(lease, hold);
    if (joins) {
      hold.step = -1;
      hold.restored = true;
      waits(hold);
    } else {
      restore(hold, 0, new ArrayList<>());
    }
  }

  // ---- Groups

  private static void leaveGroup(Hold hold, boolean noticed) {
    SimulatedGroup group = hold.group;
    if (group != null) {
      group.leave(hold, noticed);
    }
  }

  /** The trainer goes on under the lease that follows. */
  private void follow(Hold hold, LeaseRef lease, Assignment assignment) {
    rename(hold, lease, assignment);
    hold.handOver = false;
    if (hold.restored) {
      after(
          world.between(Simulation.MS, 60 * Simulation.MS),
          () -> {
            if (!hold.dropped && hold.lease.equals(lease)) {
              waits(hold);
            }
          });
    } else {
      restore(hold, 0, new ArrayList<>());
    }
    if (draining) {
      handOver(hold);
    }
  }

  /** The trainer has ended, and the coordinator has not heard it under the lease before. */
  private void tellAgain(Hold hold, LeaseRef lease, Assignment assignment) {
    rename(hold, lease, assignment);
    if (hold.hasLastWordOfRankZero()) {
      begin(hold, hold.step, "", hold.state, List.of());
    } else {
      finish(hold, hold.outcome);
    }
  }

  private void rename(Hold hold, LeaseRef lease, Assignment assignment) {
    leaveGroup(hold, true);
    holds.remove(hold.lease);
    hold.lease = lease;
    hold.assignment = assignment;
    hold.deadline = world.time() + Simulation.POLICY.lease().toNanos();
    hold.begun = false;
    hold.uploading = false;
    hold.giveUpStep();
    hold.follows = true;
    hold.said = null;
    holds.put(lease, hold);
  }

  private void waits(Hold hold) {
    GroupWaiting message =
        GroupWaiting.newBuilder().setLease(hold.lease).setStep(hold.step).setPort(1).build();
    say(hold, (core, in, now) -> core.groupWaiting(id, in, message, now));
  }

  /** The group that it was in is no more; its state stays. */
  void broke(Hold hold) {
    if (hold.ending) {
      return;
    }
    hold.giveUpStep();
    hold.begun = false;
    GroupBroken message =
        GroupBroken.newBuilder()
            .setLease(hold.lease)
            .setStep(hold.step)
            .setMessage("closed by peer")
            .build();
    say(hold, (core, in, now) -> core.groupBroken(id, in, message, now));
  }

  private interface Saying {
    void say(Scheduler core, long session, Now now);
  }

  private void say(Hold hold, Saying saying) {
    BiFunction<Scheduler, Now, Object> said =
        (core, now) -> {
          saying.say(core, session, now);
          return "";
        };
    hold.said = said;
    send(said, true);
  }

  /** The group stands, and all have the same state. */
  void formed(Hold hold) {
    hold.said = null;
    hold.giveUpStep();
    if (hold.step < 0) {
      finish(hold, AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR);
      return;
    }
    if (hold.lease.getRank() == 0) {
      begin(hold, hold.step, hold.checkpointId, hold.state, hold.damaged);
      hold.damaged = List.of();
    } else {
      hold.begun = true;
      hold.resumed = hold.step;
    }
    if (hold.step < hold.steps) {
      step(hold);
    }
  }

  /** The exchange of a step has reached this trainer. */
  void stepped(Hold hold) {
    hold.giveUpStep();
    if (hold.dropped || hold.ending) {
      return;
    }
    if (hold.step < hold.steps) {
      trained(hold);
    }
    if (hold.handOver) {
      if (hold.begun && !hold.uploading) {
        release(hold);
      }
    } else {
      goOn(hold);
    }
  }

  private void goOn(Hold hold) {
    if (hold.step < hold.steps) {
      step(hold);
    } else if (hold.lease.getRank() == 0 && hold.begun) {
      end(hold);
    }
  }

  private static void kept(Hold hold, long step) {
    hold.committedStep = Math.max(hold.committedStep, step);
    hold.points.removeIf(point -> point.getStep() <= step);
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

  // ---- Its state

  /** Goes through the checkpoints, newest first, to the first that proves whole. */
  private void restore(Hold hold, int index, List<DamagedCheckpoint> damaged) {
    if (index == hold.assignment.getCheckpointsCount()) {
      restored(hold, 0, "", Simulation.start(hold.lease.getJobId()), damaged);
      return;
    }
    LeaseRef lease = hold.lease;
    Checkpoint checkpoint = hold.assignment.getCheckpoints(index);
    CreateDownloadRequest request =
        CreateDownloadRequest.newBuilder()
            .setWorkerId(id)
            .setJobId(hold.lease.getJobId())
            .setCheckpointId(checkpoint.getCheckpointId())
            .build();
    call(
        hold,
        (core, now) -> core.download(request).objectKey(),
        key -> {
          Simulation.Blob blob = world.objects.get((String) key);
          if (blob == null) {
            if (world.current(hold.lease)) {
              throw new Simulation.Broken("no object under checkpoint " + checkpoint);
            }
            // The term is over, and the sweep was here before we read.
            drop(hold);
            return;
          }
          if (blob.whole()) {
            after(
                world.between(20 * Simulation.MS, 400 * Simulation.MS),
                () -> {
                  if (!hold.dropped && hold.lease.equals(lease)) {
                    restored(
                        hold,
                        checkpoint.getStep(),
                        checkpoint.getCheckpointId(),
                        blob.state(),
                        damaged);
                  }
                });
          } else {
            damaged.add(
                DamagedCheckpoint.newBuilder()
                    .setCheckpointId(checkpoint.getCheckpointId())
                    .setReason("its SHA-256 differs")
                    .build());
            restore(hold, index + 1, damaged);
          }
        });
  }

  private void restored(
      Hold hold, long step, String checkpointId, long state, List<DamagedCheckpoint> damaged) {
    if (!hold.inGang()) {
      begin(hold, step, checkpointId, state, damaged);
      return;
    }
    hold.restored = true;
    hold.step = step;
    hold.state = state;
    hold.committedStep = step;
    hold.checkpointId = checkpointId;
    hold.damaged = damaged;
    waits(hold);
  }

  private void begin(
      Hold hold, long step, String checkpointId, long state, List<DamagedCheckpoint> damaged) {
    BeginAttemptRequest request =
        BeginAttemptRequest.newBuilder()
            .setLease(hold.lease)
            .setResumedStep(step)
            .setCheckpointId(hold.follows ? "" : checkpointId)
            .setFromMemory(hold.follows)
            .setKind("simulated")
            .addAllDamaged(damaged)
            .setTotalSteps(hold.steps)
            .build();
    call(
        hold,
        (core, now) -> {
          core.beginAttempt(request, now);
          return "";
        },
        done -> {
          hold.begun = true;
          hold.resumed = step;
          if (hold.ending) {
            if (hold.outcome == AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED) {
              upload(hold, true);
            } else {
              finish(hold, hold.outcome);
            }
            return;
          }
          if (hold.inGang()) {
            if (hold.group == null) {
              hold.begun = false;
            } else if (!hold.handOver) {
              goOn(hold);
            } else if (!hold.arrived) {
              release(hold);
            }
            return;
          }
          hold.step = step;
          hold.committedStep = step;
          hold.state = state;
          if (hold.handOver) {
            release(hold);
          } else if (hold.step == hold.steps) {
            end(hold);
          } else {
            step(hold);
          }
        });
  }

  private void step(Hold hold) {
    if (hold.stepping || hold.dropped || hold.ending || hold.handOver || hold.step >= hold.steps) {
      return;
    }
    hold.stepping = true;
    long turn = ++hold.turn;
    after(
        hold.stepNanos,
        () -> {
          if (hold.turn == turn) {
            computed(hold);
          }
        });
  }

  /** Its own part of a step is done. */
  private void computed(Hold hold) {
    if (hold.dropped || hold.ending || hold.handOver) {
      hold.stepping = false;
      return;
    }
    if (world.time() >= hold.deadline) {
      // Paused, with its state in memory, until the lease is renewed.
      long turn = hold.turn;
      after(
          100 * Simulation.MS,
          () -> {
            if (hold.turn == turn) {
              hold.stepping = false;
              step(hold);
            }
          });
      return;
    }
    SimulatedGroup group = hold.group;
    if (group != null) {
      hold.arrived = true;
      group.arrive(hold);
      return;
    }
    hold.stepping = false;
    if (hold.inGang()) {
      return;
    }
    trained(hold);
    if (hold.step == hold.steps) {
      end(hold);
    } else {
      step(hold);
    }
  }

  private void trained(Hold hold) {
    hold.step++;
    hold.state = Simulation.stepped(hold.state, hold.step);
    world.submitted.computeIfPresent(
        hold.lease.getJobId(),
        (k, job) -> {
          job.ran(hold.step, hold.lease.getTerm());
          return job;
        });
    if (Simulation.logs(hold.step, hold.steps)) {
      hold.points.add(
          MetricPoint.newBuilder()
              .setSeries("train/loss")
              .setStep(hold.step)
              .setValue(Simulation.loss(hold.state))
              .build());
    }
    if (hold.step == hold.resumed + 1 || hold.step % 4 == 0) {
      report(hold);
    }
    if (hold.lease.getRank() == 0
        && hold.begun
        && hold.step - hold.committedStep >= CHECKPOINT_STEPS
        && !hold.uploading) {
      upload(hold, false);
    }
  }

  private void report(Hold hold) {
    ProgressReport report =
        ProgressReport.newBuilder()
            .setLease(hold.lease)
            .setFirstStep(hold.resumed + 1)
            .setProgress(Progress.newBuilder().setStep(hold.step).setTotalSteps(hold.steps))
            .setReplica(ReplicaProgress.newBuilder().setAllReduce(world.between(0, 100) / 100.0))
            .build();
    long in = session;
    send(
        (core, now) -> {
          core.progress(id, in, report, now);
          return "";
        });
  }

  private static List<MetricPoint> points(Hold hold, long until) {
    return hold.points.stream()
        .filter(p -> p.getStep() > hold.committedStep && p.getStep() <= until)
        .toList();
  }

  /** Copies the state, sends it in the background, commits it. */
  private void upload(Hold hold, boolean release) {
    hold.uploading = true;
    long step = hold.step;
    long state = hold.state;
    List<MetricPoint> points = points(hold, step);
    LeaseRef lease = hold.lease;
    String uploadId = id + "-upload-" + ++uploads;
    CreateUploadRequest create =
        CreateUploadRequest.newBuilder()
            .setLease(hold.lease)
            .setUploadId(uploadId)
            .setContent(
                UploadContent.newBuilder()
                    .setBytes(8)
                    .setSha256(Long.toHexString(state))
                    .addParts(UploadPart.newBuilder().setBytes(8)))
            .build();
    CommitCheckpointRequest commit =
        CommitCheckpointRequest.newBuilder()
            .setLease(hold.lease)
            .setUpload(CompletedUpload.newBuilder().setUploadId(uploadId))
            .setStep(step)
            .addAllPoints(points)
            .setRelease(release)
            .build();
    call(
        hold,
        (core, now) -> core.createUpload(create, now).objectKey(),
        key ->
            after(
                world.between(Simulation.MS, 800 * Simulation.MS),
                () -> {
                  // A late PUT lands even where nobody waits for it any more.
                  world.objects.put((String) key, new Simulation.Blob(step, state, true));
                  if (!hold.dropped && hold.lease.equals(lease)) {
                    commit(hold, commit);
                  }
                }));
  }

  private void commit(Hold hold, CommitCheckpointRequest request) {
    if (world.time() >= hold.deadline) {
      after(
          100 * Simulation.MS,
          () -> {
            if (!hold.dropped && hold.lease.equals(request.getLease())) {
              commit(hold, request);
            }
          });
      return;
    }
    call(
        hold,
        (core, now) -> {
          core.uploadOf(request.getLease(), request.getUpload().getUploadId());
          return core.commitCheckpoint(request, now);
        },
        checkpointId -> {
          world.committed(
              request.getLease().getJobId(), request.getLease().getTerm(), (String) checkpointId);
          hold.uploading = false;
          hold.committedStep = request.getStep();
          if (hold.inGang()) {
            kept(hold, request.getStep());
          }
          if (request.getRelease()) {
            drop(hold);
          } else if (hold.handOver) {
            if (!hold.arrived) {
              release(hold);
            }
          } else if (hold.step == hold.steps && (hold.begun || !hold.inGang())) {
            end(hold);
          }
        });
  }

  private void handOver(Hold hold) {
    if (hold.handOver || hold.ending) {
      return;
    }
    if (hold.inGang() && (hold.lease.getRank() > 0 || (!hold.begun && hold.group == null))) {
      // The coordinator's to take away; given back where nothing comes of it.
      releaseUnlessTaken(hold, hold.lease, 12);
      return;
    }
    hold.handOver = true;
    if (hold.begun && !hold.uploading && !hold.arrived) {
      release(hold);
    }
  }

  private void releaseUnlessTaken(Hold hold, LeaseRef lease, int checks) {
    long stepThen = hold.step;
    after(
        5 * Simulation.SECOND,
        () -> {
          if (hold.dropped || hold.ending || hold.handOver || !hold.lease.equals(lease)) {
            return;
          }
          if (hold.lease.getRank() == 0 && hold.begun) {
            handOver(hold);
          } else if (checks == 1 || (hold.begun && hold.step > stepThen)) {
            finish(hold, AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
          } else {
            releaseUnlessTaken(hold, lease, checks - 1);
          }
        });
  }

  private void release(Hold hold) {
    if (hold.step > hold.committedStep) {
      hold.ending = true;
      leaveGroup(hold, true);
      upload(hold, true);
    } else {
      finish(hold, AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
    }
  }

  private void end(Hold hold) {
    if (!hold.uploading) {
      finish(hold, AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
    }
  }

  private void finish(Hold hold, AttemptOutcome outcome) {
    hold.ending = true;
    hold.outcome = outcome;
    boolean done = outcome == AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED;
    if (!done) {
      leaveGroup(hold, true);
    }
    FinishAttemptRequest request =
        FinishAttemptRequest.newBuilder()
            .setLease(hold.lease)
            .setOutcome(outcome)
            .setLastStep(hold.step)
            .addAllPoints(done ? points(hold, hold.step) : List.of())
            .setResult(
                done
                    ? Result.newBuilder().setWeightsSha256(Long.toHexString(hold.state)).build()
                    : Result.getDefaultInstance())
            .build();
    call(
        hold,
        (core, now) -> {
          core.finishAttempt(request, now);
          return "";
        },
        done2 -> drop(hold));
  }

  /** Repeats a call of a lease until it is answered, or the term is known to be over. */
  private void call(Hold hold, BiFunction<Scheduler, Now, Object> body, Consumer<Object> done) {
    boolean[] answered = {false};
    LeaseRef lease = hold.lease;
    world.unary(
        this,
        body,
        value -> {
          if (!answered[0]) {
            answered[0] = true;
            if (!hold.dropped && hold.lease.equals(lease)) {
              done.accept(value);
            }
          }
        },
        why -> {
          if (answered[0]) {
            return;
          }
          if (why instanceof Simulation.Unavailable) {
            return; // Tried again when its time is up.
          }
          answered[0] = true;
          if (!hold.lease.equals(lease)) {
            return;
          }
          CoordinatorException refusal = (CoordinatorException) why;
          switch (refusal.kind()) {
            case ABORTED -> {
              if (hold.inGang()) {
                // The lease that follows may be on its way.
                after(
                    2 * Simulation.SECOND,
                    () -> {
                      if (!hold.dropped && hold.lease.equals(lease)) {
                        drop(hold);
                      }
                    });
              } else {
                drop(hold);
              }
            }
            case NOT_FOUND, PERMISSION_DENIED -> {
              // A download after the term was over; the next heartbeat says so.
              if (!hold.dropped) {
                drop(hold);
              }
            }
            default -> throw new Simulation.Broken(hold.lease + ": " + refusal.getMessage());
          }
        });
    after(
        2 * Simulation.SECOND,
        () -> {
          if (!answered[0]) {
            answered[0] = true;
            if (!hold.dropped && hold.lease.equals(lease)) {
              call(hold, body, done);
            }
          }
        });
  }
}
