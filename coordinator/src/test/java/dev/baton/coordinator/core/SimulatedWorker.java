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
import dev.baton.v1.Heartbeat;
import dev.baton.v1.Hello;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Machine;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.OrderKind;
import dev.baton.v1.Progress;
import dev.baton.v1.ProgressReport;
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

  /** One job under a lease. */
  private static final class Hold {
    final LeaseRef lease;
    final Assignment assignment;
    final long steps;
    final long stepNanos;
    long deadline;
    boolean dropped;
    boolean begun;
    boolean uploading;
    boolean handOver;
    boolean ending;
    boolean stepping;
    long resumed;
    long step;
    long state;
    long committedStep;
    final List<MetricPoint> points = new ArrayList<>();

    Hold(LeaseRef lease, Assignment assignment, long deadline, long stepNanos) {
      this.lease = lease;
      this.assignment = assignment;
      this.steps =
          assignment.getSpec().getData().getTrain().getSynthetic().getRegression().getSamples();
      this.deadline = deadline;
      this.stepNanos = stepNanos;
    }
  }

  private final Simulation world;
  private final String name;
  private final int slots;
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
  private final Map<String, Hold> holds = new LinkedHashMap<>();
  private final Set<String> prepared = new HashSet<>();
  private int uploads;

  SimulatedWorker(Simulation world, String name, int slots) {
    this.world = world;
    this.name = name;
    this.slots = slots;
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
    Simulation.Stream open = stream;
    if (open != null && open.open()) {
      open.toCoordinator(body);
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
      }
      case HEARTBEAT_REPLY -> {
        Long sent = sentAt.get(message.getHeartbeatReply().getSeq());
        sentAt.keySet().removeIf(s -> s <= message.getHeartbeatReply().getSeq());
        if (sent != null) {
          renew(message.getHeartbeatReply().getRenewedList(), sent);
        }
        drop(message.getHeartbeatReply().getEndedList());
      }
      case OFFER -> take(message.getOffer().getLease(), message.getOffer().getAssignment());
      case PREPARE -> prepared.add(message.getPrepare().getAssignment().getJobId());
      case UNPREPARE -> prepared.remove(message.getUnprepare().getJobId());
      case ORDER -> {
        if (message.getOrder().getKind() == OrderKind.ORDER_KIND_DRAIN) {
          drain();
          return;
        }
        Hold hold = holds.get(message.getOrder().getLease().getJobId());
        if (hold != null && hold.lease.equals(message.getOrder().getLease())) {
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
      Hold hold = holds.get(lease.getJobId());
      if (hold != null && hold.lease.equals(lease)) {
        hold.deadline = Math.max(hold.deadline, sent + Simulation.POLICY.lease().toNanos());
      }
    }
  }

  private void drop(List<LeaseRef> ended) {
    for (LeaseRef lease : ended) {
      Hold hold = holds.get(lease.getJobId());
      if (hold != null && hold.lease.equals(lease)) {
        drop(hold);
      }
    }
  }

  private void drop(Hold hold) {
    hold.dropped = true;
    holds.remove(hold.lease.getJobId(), hold);
    leaveWhenEmpty();
  }

  // ---- A lease

  private void take(LeaseRef lease, Assignment assignment) {
    Hold old = holds.get(lease.getJobId());
    if (old != null) {
      if (old.lease.getTerm() >= lease.getTerm()) {
        return;
      }
      drop(old);
    }
    prepared.remove(lease.getJobId());
    Hold hold =
        new Hold(
            lease,
            assignment,
            world.time() + Simulation.POLICY.lease().toNanos(),
            world.between(30 * Simulation.MS, 300 * Simulation.MS));
    if (!alive || draining || holds.size() >= slots) {
      finish(hold, AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
      return;
    }
    holds.put(lease.getJobId(), hold);
    restore(hold, 0, new ArrayList<>());
  }

  /** Goes through the checkpoints, newest first, to the first that proves whole. */
  private void restore(Hold hold, int index, List<DamagedCheckpoint> damaged) {
    if (index == hold.assignment.getCheckpointsCount()) {
      begin(hold, 0, "", Simulation.start(hold.lease.getJobId()), damaged);
      return;
    }
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
                  if (!hold.dropped) {
                    begin(
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

  private void begin(
      Hold hold, long step, String checkpointId, long state, List<DamagedCheckpoint> damaged) {
    BeginAttemptRequest request =
        BeginAttemptRequest.newBuilder()
            .setLease(hold.lease)
            .setResumedStep(step)
            .setCheckpointId(checkpointId)
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
    if (hold.stepping || hold.dropped || hold.ending || hold.handOver) {
      return;
    }
    hold.stepping = true;
    after(
        hold.stepNanos,
        () -> {
          hold.stepping = false;
          if (hold.dropped || hold.ending || hold.handOver) {
            return;
          }
          if (world.time() >= hold.deadline) {
            // Paused, with its state in memory, until the lease is renewed.
            after(100 * Simulation.MS, () -> step(hold));
            return;
          }
          trained(hold);
          if (hold.step == hold.steps) {
            end(hold);
          } else {
            step(hold);
          }
        });
  }

  private void trained(Hold hold) {
    hold.step++;
    hold.state = Simulation.stepped(hold.state, hold.step);
    world.submitted.computeIfPresent(
        hold.lease.getJobId(),
        (k, job) -> {
          job.stepsRun++;
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
    if (hold.step - hold.committedStep >= CHECKPOINT_STEPS && !hold.uploading) {
      upload(hold, false);
    }
  }

  private void report(Hold hold) {
    ProgressReport report =
        ProgressReport.newBuilder()
            .setLease(hold.lease)
            .setFirstStep(hold.resumed + 1)
            .setProgress(Progress.newBuilder().setStep(hold.step).setTotalSteps(hold.steps))
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
                  if (!hold.dropped) {
                    commit(hold, commit);
                  }
                }));
  }

  private void commit(Hold hold, CommitCheckpointRequest request) {
    if (world.time() >= hold.deadline) {
      after(
          100 * Simulation.MS,
          () -> {
            if (!hold.dropped) {
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
          world.committed(hold.lease.getJobId(), hold.lease.getTerm(), (String) checkpointId);
          hold.uploading = false;
          hold.committedStep = request.getStep();
          if (request.getRelease()) {
            drop(hold);
          } else if (hold.handOver) {
            release(hold);
          } else if (hold.step == hold.steps) {
            end(hold);
          }
        });
  }

  private void handOver(Hold hold) {
    if (hold.handOver || hold.ending) {
      return;
    }
    hold.handOver = true;
    if (hold.begun && !hold.uploading) {
      release(hold);
    }
  }

  private void release(Hold hold) {
    if (hold.step > hold.committedStep) {
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
    boolean done = outcome == AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED;
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
    world.unary(
        this,
        body,
        value -> {
          if (!answered[0]) {
            answered[0] = true;
            if (!hold.dropped) {
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
          CoordinatorException refusal = (CoordinatorException) why;
          switch (refusal.kind()) {
            case ABORTED -> drop(hold);
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
            if (!hold.dropped) {
              call(hold, body, done);
            }
          }
        });
  }
}
