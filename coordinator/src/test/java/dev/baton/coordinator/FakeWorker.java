package dev.baton.coordinator;

import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.Hello;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Machine;
import dev.baton.v1.Offer;
import dev.baton.v1.WorkerMessage;
import dev.baton.v1.WorkerServiceGrpc;
import io.grpc.Channel;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** A worker's session, by hand. */
final class FakeWorker {
  final String id;
  private final LinkedBlockingQueue<CoordinatorMessage> received = new LinkedBlockingQueue<>();
  private final CompletableFuture<Status> end = new CompletableFuture<>();
  private final StreamObserver<WorkerMessage> stream;
  private long seq;

  private FakeWorker(Channel channel, String id) {
    this.id = id;
    stream =
        WorkerServiceGrpc.newStub(channel)
            .session(
                new StreamObserver<>() {
                  @Override
                  public void onNext(CoordinatorMessage message) {
                    received.add(message);
                  }

                  @Override
                  public void onError(Throwable t) {
                    end.complete(Status.fromThrowable(t));
                  }

                  @Override
                  public void onCompleted() {
                    end.complete(Status.OK);
                  }
                });
  }

  static FakeWorker connect(Channel channel, String name) {
    return connect(channel, UUID.randomUUID().toString(), name, 1, List.of());
  }

  static FakeWorker connect(
      Channel channel, String id, String name, long session, List<LeaseRef> leases) {
    var worker = new FakeWorker(channel, id);
    worker.send(
        WorkerMessage.newBuilder()
            .setHello(
                Hello.newBuilder()
                    .setWorkerId(id)
                    .setName(name)
                    .setSession(session)
                    .setMachine(
                        Machine.newBuilder()
                            .setHostname("host")
                            .setCpuModel("cpu")
                            .setCpus(4)
                            .setMemoryBytes(16L << 30)
                            .setDiskBytes(16L << 30)
                            .setLibtorch("2"))
                    .setSlots(1)
                    .addAllLeases(leases)
                    .setProtocol(1))
            .build());
    return worker;
  }

  /** A stream on which nothing was said yet. */
  static FakeWorker silent(Channel channel) {
    return new FakeWorker(channel, "");
  }

  void send(WorkerMessage message) {
    stream.onNext(message);
  }

  void heartbeat(LeaseRef... leases) {
    send(
        WorkerMessage.newBuilder()
            .setHeartbeat(Heartbeat.newBuilder().setSeq(++seq).addAllLeases(List.of(leases)))
            .build());
  }

  /** The next message that is such; others before it are dropped. */
  CoordinatorMessage await(Predicate<CoordinatorMessage> wanted) throws InterruptedException {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
    @Nullable CoordinatorMessage message;
    while ((message = received.poll(deadline - System.nanoTime(), TimeUnit.NANOSECONDS)) != null) {
      if (wanted.test(message)) {
        return message;
      }
    }
    throw new AssertionError("the message did not come; the stream's end: " + end.getNow(null));
  }

  Offer offer() throws InterruptedException {
    return await(CoordinatorMessage::hasOffer).getOffer();
  }

  Status end() throws Exception {
    return end.get(20, TimeUnit.SECONDS);
  }

  void hangUp() {
    stream.onError(Status.CANCELLED.asRuntimeException());
  }
}
