package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.coordinator.testing.InMemoryStores;
import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.Hello;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Machine;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Result;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadPart;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Function;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;

/**
 * A core on a manual clock, with a client and workers of one slot that are played by hand:
 * heartbeats each 3 s, a lease of 15 s, a grace of 2 s.
 */
abstract class CoreByHand {
  final InMemoryStores database = new InMemoryStores();
  final List<Effect> effects = new ArrayList<>();
  Scheduler scheduler = newScheduler();
  long nanos = 5_000_000_000L;
  long epochMs = 1_700_000_000_000L;
  private int requests;
  private int uploads;

  Scheduler newScheduler() {
    return new Scheduler(
        database.stores(), LeasePolicy.DEFAULT, new SplittableRandom(17 + requests));
  }

  @BeforeEach
  void start() {
    run(
        s -> {
          s.start(now());
          return "";
        });
    advance(20_000);
  }

  Now now() {
    return new Now(nanos, epochMs);
  }

  <T> T run(Function<Scheduler, T> command) {
    database.begin();
    try {
      return command.apply(scheduler);
    } finally {
      database.commit();
      effects.addAll(scheduler.drainEffects());
    }
  }

  void advance(long ms) {
    for (long left = ms; left > 0; left -= 50) {
      long step = Math.min(left, 50);
      nanos += step * 1_000_000;
      epochMs += step;
      run(
          s -> {
            s.tick(now());
            return "";
          });
    }
  }

  void restart() {
    effects.clear();
    scheduler = newScheduler();
    nanos -= 3_000_000_000L;
    run(
        s -> {
          s.start(now());
          return "";
        });
  }

  // ---- A client and workers, by hand

  static JobSpec.Builder spec() {
    return TestJobs.regression(100, 10);
  }

  String submit(JobSpec.Builder spec) {
    return run(s -> s.submit("request-" + ++requests, spec.build(), now()));
  }

  String submit() {
    return submit(spec());
  }

  static Machine machine() {
    return Machine.newBuilder()
        .setCpuModel("cpu")
        .setCpus(2)
        .setMemoryBytes(4L << 30)
        .setLibtorch("2.10")
        .build();
  }

  void hello(String worker, long session, LeaseRef... leases) {
    hello(worker, session, machine(), leases);
  }

  void hello(String worker, long session, Machine machine, LeaseRef... leases) {
    run(
        s -> {
          s.openSession(
              Hello.newBuilder()
                  .setWorkerId(worker)
                  .setName(worker)
                  .setSession(session)
                  .setSlots(1)
                  .setProtocol(1)
                  .setMachine(machine)
                  .addAllLeases(Arrays.asList(leases))
                  .build(),
              now());
          return "";
        });
  }

  void beat(String worker, long session, LeaseRef... leases) {
    run(
        s -> {
          s.heartbeat(
              worker,
              session,
              Heartbeat.newBuilder().setSeq(1).addAllLeases(Arrays.asList(leases)).build(),
              now());
          return "";
        });
  }

  void broken(String worker, long session) {
    run(
        s -> {
          s.closeSession(worker, session, now());
          return "";
        });
  }

  List<CoordinatorMessage> sent(String worker) {
    return effects.stream()
        .filter(e -> e instanceof Effect.Send send && send.workerId().equals(worker))
        .map(e -> ((Effect.Send) e).message())
        .toList();
  }

  /** The newest offer to this worker. */
  LeaseRef offered(String worker) {
    return offers(worker).get(offers(worker).size() - 1).getOffer().getLease();
  }

  List<CoordinatorMessage> offers(String worker) {
    return sent(worker).stream().filter(CoordinatorMessage::hasOffer).toList();
  }

  List<Assignment> preparations(String worker) {
    return sent(worker).stream()
        .filter(CoordinatorMessage::hasPrepare)
        .map(m -> m.getPrepare().getAssignment())
        .toList();
  }

  CoordinatorMessage last(String worker) {
    return sent(worker).get(sent(worker).size() - 1);
  }

  void begin(LeaseRef lease, long step, String checkpoint) {
    run(
        s -> {
          s.beginAttempt(
              BeginAttemptRequest.newBuilder()
                  .setLease(lease)
                  .setResumedStep(step)
                  .setCheckpointId(checkpoint)
                  .setKind("cpu 1 thread")
                  .setTotalSteps(10)
                  .build(),
              now());
          return "";
        });
  }

  String upload(LeaseRef lease) {
    String id = "upload-" + ++uploads;
    run(
        s ->
            s.createUpload(
                CreateUploadRequest.newBuilder()
                    .setLease(lease)
                    .setUploadId(id)
                    .setContent(
                        UploadContent.newBuilder()
                            .setBytes(8)
                            .setSha256("00")
                            .addParts(UploadPart.newBuilder().setBytes(8)))
                    .build(),
                now()));
    return id;
  }

  String commit(LeaseRef lease, String upload, long step, boolean release) {
    return run(
        s ->
            s.commitCheckpoint(
                CommitCheckpointRequest.newBuilder()
                    .setLease(lease)
                    .setUpload(CompletedUpload.newBuilder().setUploadId(upload))
                    .setStep(step)
                    .addPoints(point(step))
                    .setRelease(release)
                    .build(),
                now()));
  }

  static MetricPoint point(long step) {
    return MetricPoint.newBuilder()
        .setSeries("train/loss")
        .setStep(step)
        .setValue(1.0 / step)
        .build();
  }

  void finish(LeaseRef lease, AttemptOutcome outcome, String message) {
    run(
        s -> {
          s.finishAttempt(
              FinishAttemptRequest.newBuilder()
                  .setLease(lease)
                  .setOutcome(outcome)
                  .setMessage(message)
                  .setLastStep(5)
                  .addPoints(point(5))
                  .setResult(Result.newBuilder().setWeightsSha256("abc").setExact(true))
                  .build(),
              now());
          return "";
        });
  }

  dev.baton.v1.Job view(String job) {
    return run(s -> s.view(job, now()));
  }

  static void assertRefused(CoordinatorException.Kind kind, ThrowingCallable call) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            CoordinatorException.class, e -> assertThat(e.kind()).isEqualTo(kind));
  }
}
