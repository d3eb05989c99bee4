package dev.baton.coordinator.core;

import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.Checkpoint;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.CreateDownloadRequest;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.DamagedCheckpoint;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.GroupBroken;
import dev.baton.v1.GroupWaiting;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Progress;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.ReplicaProgress;
import dev.baton.v1.Result;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadPart;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import java.util.function.Consumer;

/**
 * What the trainers of a worker do, and what its daemon tells the coordinator of them: they pause
 * at the deadline of their lease, and commit nothing until they have asked.
 */
final class SimulatedTrainers {
  private static final long CHECKPOINT_STEPS = 7;

  private final Simulation world;
  private final SimulatedWorker worker;
  private int uploads;

  SimulatedTrainers(Simulation world, SimulatedWorker worker) {
    this.world = world;
    this.worker = worker;
  }

  // ---- Groups

  static void leaveGroup(SimulatedReplica hold, boolean noticed) {
    SimulatedGroup group = hold.group;
    if (group != null) {
      group.leave(hold, noticed);
    }
  }

  /** The trainer goes on under the lease that follows. */
  void follow(SimulatedReplica hold, LeaseRef lease, Assignment assignment) {
    rename(hold, lease, assignment);
    hold.handOver = false;
    if (hold.restored) {
      worker.after(
          world.between(Simulation.MS, 60 * Simulation.MS),
          () -> {
            if (!hold.dropped && hold.lease.equals(lease)) {
              waits(hold);
            }
          });
    } else {
      restore(hold, 0, new ArrayList<>());
    }
    if (worker.draining()) {
      handOver(hold);
    }
  }

  /** The trainer has ended, and the coordinator has not heard it under the lease before. */
  void tellAgain(SimulatedReplica hold, LeaseRef lease, Assignment assignment) {
    rename(hold, lease, assignment);
    if (hold.hasLastWordOfRankZero()) {
      begin(hold, hold.step, "", hold.state, List.of());
    } else {
      finish(hold, hold.outcome);
    }
  }

  private void rename(SimulatedReplica hold, LeaseRef lease, Assignment assignment) {
    leaveGroup(hold, true);
    worker.holds.remove(hold.lease);
    hold.lease = lease;
    hold.assignment = assignment;
    hold.deadline = world.time() + Simulation.POLICY.lease().toNanos();
    hold.begun = false;
    hold.uploading = false;
    hold.giveUpStep();
    hold.follows = true;
    hold.said = null;
    worker.holds.put(lease, hold);
  }

  void waits(SimulatedReplica hold) {
    GroupWaiting message =
        GroupWaiting.newBuilder().setLease(hold.lease).setStep(hold.step).setPort(1).build();
    say(hold, (core, in, now) -> core.groupWaiting(worker.id(), in, message, now));
  }

  /** The group that it was in is no more; its state stays. */
  void broke(SimulatedReplica hold) {
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
    say(hold, (core, in, now) -> core.groupBroken(worker.id(), in, message, now));
  }

  private interface Saying {
    void say(Scheduler core, long session, Now now);
  }

  private void say(SimulatedReplica hold, Saying saying) {
    BiFunction<Scheduler, Now, Object> said =
        (core, now) -> {
          saying.say(core, worker.session(), now);
          return "";
        };
    hold.said = said;
    worker.send(said, true);
  }

  /** The group stands, and all have the same state. */
  void formed(SimulatedReplica hold) {
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
  void stepped(SimulatedReplica hold) {
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

  private void goOn(SimulatedReplica hold) {
    if (hold.step < hold.steps) {
      step(hold);
    } else if (hold.lease.getRank() == 0 && hold.begun) {
      end(hold);
    }
  }

  static void kept(SimulatedReplica hold, long step) {
    hold.committedStep = Math.max(hold.committedStep, step);
    hold.points.removeIf(point -> point.getStep() <= step);
  }

  // ---- Its state

  /** Goes through the checkpoints, newest first, to the first that proves whole. */
  void restore(SimulatedReplica hold, int index, List<DamagedCheckpoint> damaged) {
    if (index == hold.assignment.getCheckpointsCount()) {
      restored(hold, 0, "", SimulatedJob.start(hold.lease.getJobId()), damaged);
      return;
    }
    LeaseRef lease = hold.lease;
    Checkpoint checkpoint = hold.assignment.getCheckpoints(index);
    CreateDownloadRequest request =
        CreateDownloadRequest.newBuilder()
            .setWorkerId(worker.id())
            .setJobId(hold.lease.getJobId())
            .setCheckpointId(checkpoint.getCheckpointId())
            .build();
    call(
        hold,
        (core, now) -> core.download(request).objectKey(),
        key -> {
          Simulation.Blob blob = world.objects.get((String) key);
          if (blob == null) {
            if (world.promises.current(hold.lease)) {
              throw new Simulation.Broken("no object under checkpoint " + checkpoint);
            }
            // The term is over, and the sweep was here before we read.
            worker.drop(hold);
            return;
          }
          if (blob.whole()) {
            worker.after(
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
      SimulatedReplica hold,
      long step,
      String checkpointId,
      long state,
      List<DamagedCheckpoint> damaged) {
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
      SimulatedReplica hold,
      long step,
      String checkpointId,
      long state,
      List<DamagedCheckpoint> damaged) {
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

  private void step(SimulatedReplica hold) {
    if (hold.stepping || hold.dropped || hold.ending || hold.handOver || hold.step >= hold.steps) {
      return;
    }
    hold.stepping = true;
    long turn = ++hold.turn;
    worker.after(
        hold.stepNanos,
        () -> {
          if (hold.turn == turn) {
            computed(hold);
          }
        });
  }

  /** Its own part of a step is done. */
  private void computed(SimulatedReplica hold) {
    if (hold.dropped || hold.ending || hold.handOver) {
      hold.stepping = false;
      return;
    }
    if (world.time() >= hold.deadline) {
      // Paused, with its state in memory, until the lease is renewed.
      long turn = hold.turn;
      worker.after(
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

  private void trained(SimulatedReplica hold) {
    hold.step++;
    hold.state = SimulatedJob.stepped(hold.state, hold.step);
    world.submitted.computeIfPresent(
        hold.lease.getJobId(),
        (k, job) -> {
          job.ran(hold.step, hold.lease.getTerm());
          return job;
        });
    if (SimulatedJob.logs(hold.step, hold.steps)) {
      hold.points.add(
          MetricPoint.newBuilder()
              .setSeries("train/loss")
              .setStep(hold.step)
              .setValue(SimulatedJob.loss(hold.state))
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

  private void report(SimulatedReplica hold) {
    ProgressReport report =
        ProgressReport.newBuilder()
            .setLease(hold.lease)
            .setFirstStep(hold.resumed + 1)
            .setProgress(Progress.newBuilder().setStep(hold.step).setTotalSteps(hold.steps))
            .setReplica(ReplicaProgress.newBuilder().setAllReduce(world.between(0, 100) / 100.0))
            .build();
    long in = worker.session();
    worker.send(
        (core, now) -> {
          core.progress(worker.id(), in, report, now);
          return "";
        });
  }

  private static List<MetricPoint> points(SimulatedReplica hold, long until) {
    return hold.points.stream()
        .filter(p -> p.getStep() > hold.committedStep && p.getStep() <= until)
        .toList();
  }

  /** Copies the state, sends it in the background, commits it. */
  private void upload(SimulatedReplica hold, boolean release) {
    hold.uploading = true;
    long step = hold.step;
    long state = hold.state;
    List<MetricPoint> points = points(hold, step);
    LeaseRef lease = hold.lease;
    String uploadId = worker.id() + "-upload-" + ++uploads;
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
            worker.after(
                world.between(Simulation.MS, 800 * Simulation.MS),
                () -> {
                  // A late PUT lands even where nobody waits for it any more.
                  world.objects.put((String) key, new Simulation.Blob(step, state, true));
                  if (!hold.dropped && hold.lease.equals(lease)) {
                    commit(hold, commit);
                  }
                }));
  }

  private void commit(SimulatedReplica hold, CommitCheckpointRequest request) {
    if (world.time() >= hold.deadline) {
      worker.after(
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
          world.promises.committed(
              request.getLease().getJobId(), request.getLease().getTerm(), (String) checkpointId);
          hold.uploading = false;
          hold.committedStep = request.getStep();
          if (hold.inGang()) {
            kept(hold, request.getStep());
          }
          if (request.getRelease()) {
            worker.drop(hold);
          } else if (hold.handOver) {
            if (!hold.arrived) {
              release(hold);
            }
          } else if (hold.step == hold.steps && (hold.begun || !hold.inGang())) {
            end(hold);
          }
        });
  }

  void handOver(SimulatedReplica hold) {
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

  private void releaseUnlessTaken(SimulatedReplica hold, LeaseRef lease, int checks) {
    long stepThen = hold.step;
    worker.after(
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

  private void release(SimulatedReplica hold) {
    if (hold.step > hold.committedStep) {
      hold.ending = true;
      leaveGroup(hold, true);
      upload(hold, true);
    } else {
      finish(hold, AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
    }
  }

  private void end(SimulatedReplica hold) {
    if (!hold.uploading) {
      finish(hold, AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
    }
  }

  void finish(SimulatedReplica hold, AttemptOutcome outcome) {
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
        done2 -> worker.drop(hold));
  }

  /** Repeats a call of a lease until it is answered, or the term is known to be over. */
  private void call(
      SimulatedReplica hold, BiFunction<Scheduler, Now, Object> body, Consumer<Object> done) {
    boolean[] answered = {false};
    LeaseRef lease = hold.lease;
    world.unary(
        worker,
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
              // The lease that follows a gang's may be on its way: the next answer to a heartbeat
              // says whether there is none.
              if (!hold.inGang()) {
                worker.drop(hold);
              }
            }
            case NOT_FOUND, PERMISSION_DENIED -> {
              // A download after the term was over; the next heartbeat says so.
              if (!hold.dropped) {
                worker.drop(hold);
              }
            }
            default -> throw new Simulation.Broken(hold.lease + ": " + refusal.getMessage());
          }
        });
    worker.after(
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
