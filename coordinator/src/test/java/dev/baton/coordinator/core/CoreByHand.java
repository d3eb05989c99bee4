package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.Hello;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Machine;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Result;
import java.util.Arrays;
import java.util.List;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;

/**
 * A core on a manual clock, with a client and workers of one slot that are played by hand:
 * heartbeats each 3 s, a lease of 15 s, a grace of 2 s.
 */
abstract class CoreByHand extends ManualCore {
  @BeforeEach
  void begin() {
    start();
  }

  void restart() {
    effects.clear();
    startAgain();
  }

  // ---- A client and workers, by hand

  static JobSpec.Builder spec() {
    return TestJobs.regression(100, 10);
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
    tell(
        s ->
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
                now()));
  }

  void beat(String worker, long session, LeaseRef... leases) {
    tell(
        s ->
            s.heartbeat(
                worker,
                session,
                Heartbeat.newBuilder().setSeq(1).addAllLeases(Arrays.asList(leases)).build(),
                now()));
  }

  void broken(String worker, long session) {
    tell(s -> s.closeSession(worker, session, now()));
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
    begin(lease, step, checkpoint, "cpu 1 thread");
  }

  void begin(LeaseRef lease, long step, String checkpoint, String kind) {
    tell(
        s ->
            s.beginAttempt(
                BeginAttemptRequest.newBuilder()
                    .setLease(lease)
                    .setResumedStep(step)
                    .setCheckpointId(checkpoint)
                    .setKind(kind)
                    .setTotalSteps(10)
                    .build(),
                now()));
  }

  String commit(LeaseRef lease, String upload, long step, boolean release) {
    return ask(
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
    tell(
        s ->
            s.finishAttempt(
                FinishAttemptRequest.newBuilder()
                    .setLease(lease)
                    .setOutcome(outcome)
                    .setMessage(message)
                    .setLastStep(5)
                    .addPoints(point(5))
                    .setResult(Result.newBuilder().setWeightsSha256("abc").setExact(true))
                    .build(),
                now()));
  }

  static void assertRefused(CoordinatorException.Kind kind, ThrowingCallable call) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            CoordinatorException.class, e -> assertThat(e.kind()).isEqualTo(kind));
  }
}
