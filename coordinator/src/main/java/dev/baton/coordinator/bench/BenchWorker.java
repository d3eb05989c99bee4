package dev.baton.coordinator.bench;

import dev.baton.rpc.Channels;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.BeginAttemptResponse;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.FinishAttemptResponse;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.Hello;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Machine;
import dev.baton.v1.Offer;
import dev.baton.v1.Result;
import dev.baton.v1.WorkerMessage;
import dev.baton.v1.WorkerServiceGrpc;
import io.grpc.ManagedChannel;
import io.grpc.stub.StreamObserver;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * A worker that finishes each job as soon as it is offered, on a connection of its own, as a real
 * one has.
 */
final class BenchWorker implements StreamObserver<CoordinatorMessage>, AutoCloseable {
  private final ManagedChannel channel;
  private final WorkerServiceGrpc.WorkerServiceStub calls;
  private final StreamObserver<WorkerMessage> stream;
  private final CountDownLatch welcome = new CountDownLatch(1);
  private final CountDownLatch gone = new CountDownLatch(1);
  private final Consumer<String> offered;
  private final Consumer<String> finished;
  private volatile Runnable beaten = () -> {};
  private volatile LeaseRef lease = LeaseRef.getDefaultInstance();
  private long seq;
  private boolean closed;

  /**
   * @param offered hears the id of each job as its offer arrives
   * @param finished hears it again once it is finished
   */
  BenchWorker(String address, String token, Consumer<String> offered, Consumer<String> finished) {
    this.offered = offered;
    this.finished = finished;
    channel = Channels.open(address, token);
    calls = WorkerServiceGrpc.newStub(channel);
    stream = calls.session(this);
    String id = UUID.randomUUID().toString();
    send(
        WorkerMessage.newBuilder()
            .setHello(
                Hello.newBuilder()
                    .setWorkerId(id)
                    .setName("bench-" + id.substring(0, 8))
                    .setSession(1)
                    .setMachine(
                        Machine.newBuilder()
                            .setHostname("bench")
                            .setOs("Linux")
                            .setCpuModel("bench")
                            .setCpus(64)
                            .setMemoryBytes(256L << 30)
                            .setDiskBytes(256L << 30)
                            .setLibtorch("bench"))
                    .setSlots(1)
                    .setProtocol(1))
            .build());
  }

  void awaitWelcome() throws InterruptedException {
    await(welcome, "was not welcomed");
  }

  private static void await(CountDownLatch latch, String problem) throws InterruptedException {
    if (!latch.await(60, TimeUnit.SECONDS)) {
      throw new IllegalStateException("a worker " + problem + " within 60 s");
    }
  }

  private synchronized void send(WorkerMessage message) {
    if (!closed) {
      stream.onNext(message);
    }
  }

  /** Sends a heartbeat, and runs {@code then} when it is answered. */
  void beat(Runnable then) {
    beaten = then;
    beat();
  }

  /** Sends a heartbeat, as each worker must every 3 s. */
  synchronized void beat() {
    var heartbeat = Heartbeat.newBuilder().setSeq(++seq);
    LeaseRef held = lease;
    if (held.getTerm() > 0) {
      heartbeat.addLeases(held);
    }
    send(WorkerMessage.newBuilder().setHeartbeat(heartbeat).build());
  }

  @Override
  public void onNext(CoordinatorMessage message) {
    if (message.hasWelcome()) {
      welcome.countDown();
    } else if (message.hasHeartbeatReply()) {
      beaten.run();
    } else if (message.hasOffer()) {
      take(message.getOffer());
    }
  }

  private void take(Offer offer) {
    lease = offer.getLease();
    offered.accept(offer.getAssignment().getJobId());
    calls.beginAttempt(
        BeginAttemptRequest.newBuilder()
            .setLease(offer.getLease())
            .setKind("bench")
            .setTotalSteps(1)
            .build(),
        new Answer<BeginAttemptResponse>(answer -> finish(offer.getLease())));
  }

  private void finish(LeaseRef lease) {
    calls.finishAttempt(
        FinishAttemptRequest.newBuilder()
            .setLease(lease)
            .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED)
            .setLastStep(1)
            .setResult(Result.newBuilder().setWeightsSha256("0").setExact(true))
            .build(),
        new Answer<FinishAttemptResponse>(answer -> finished.accept(lease.getJobId())));
  }

  @Override
  public void onError(Throwable broken) {
    System.err.println("a worker's stream broke: " + broken.getMessage());
    gone.countDown();
  }

  @Override
  public void onCompleted() {
    gone.countDown();
  }

  /** Ends its session; once this returns, the coordinator offers it nothing more. */
  @Override
  public void close() {
    synchronized (this) {
      closed = true;
      stream.onCompleted();
    }
    try {
      await(gone, "did not see its session end");
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      channel.shutdownNow();
    }
  }
}
