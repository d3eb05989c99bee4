package dev.baton.coordinator.grpc;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.coordinator.core.LeasePolicy;
import dev.baton.coordinator.core.Now;
import dev.baton.coordinator.core.ObjectStore;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.Stores;
import dev.baton.coordinator.loop.CoreLoop;
import dev.baton.coordinator.objectstore.EmbeddedS3;
import dev.baton.coordinator.testing.InMemoryStores;
import dev.baton.coordinator.testing.QuietBinding;
import dev.baton.rpc.HostPort;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.Hello;
import dev.baton.v1.Machine;
import dev.baton.v1.WorkerMessage;
import io.grpc.stub.StreamObserver;
import java.nio.file.Path;
import java.time.InstantSource;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Ends of streams, and who is told. */
final class SessionStreamsTest {
  @TempDir Path dir;

  private final SessionStreams streams = new SessionStreams();

  @Test
  void aStreamThatHasEndedKeepsNobodyFromBeingToldOfTheRestart() {
    for (int worker = 0; worker < 5; worker++) {
      streams.open("gone " + worker, 1, new Ended());
    }
    var open = new FakeReader<CoordinatorMessage>();
    streams.open("open", 1, open);
    streams.sayRestarting();
    assertThat(open.got).singleElement().matches(CoordinatorMessage::hasRestarting);
    assertThat(open.completed).isTrue();
  }

  private static final class Ended implements StreamObserver<CoordinatorMessage> {
    @Override
    public void onNext(CoordinatorMessage message) {
      throw new IllegalStateException("call is closed");
    }

    @Override
    public void onError(Throwable thrown) {}

    @Override
    public void onCompleted() {}
  }

  @Test
  void aSessionThatTheWorkerEndsIsAnsweredOnTheCoresThread() throws Exception {
    var database = new InMemoryStores();
    Stores stores = database.stores();
    try (ObjectStore objects =
            EmbeddedS3.start(
                dir, new HostPort("127.0.0.1", 0), Optional.empty(), InstantSource.system());
        var loop =
            new CoreLoop<>(
                database,
                new Scheduler(stores, LeasePolicy.DEFAULT, new Random(1)),
                new QuietBinding(),
                () -> new Now(System.nanoTime(), 1),
                () -> {})) {
      var service =
          new WorkerGrpcService(
              loop,
              new Transfers(
                  loop, objects, Runnable::run, new UrlHost(Optional.empty(), "127.0.0.1")),
              streams,
              new EventLog());
      var worker = new FakeReader<CoordinatorMessage>();
      loop.load();
      StreamObserver<WorkerMessage> session = service.session(worker);
      session.onNext(
          WorkerMessage.newBuilder()
              .setHello(
                  Hello.newBuilder()
                      .setWorkerId("id")
                      .setName("name")
                      .setSession(1)
                      .setMachine(
                          Machine.newBuilder()
                              .setHostname("host")
                              .setCpus(1)
                              .setMemoryBytes(1 << 30)
                              .setDiskBytes(1 << 30))
                      .setSlots(1)
                      .setProtocol(1))
              .build());
      session.onCompleted();
      assertThat(worker.completed).as("while the core may still send").isFalse();
      loop.start();
      var unused = loop.submit((core, now) -> true).get(10, TimeUnit.SECONDS);
      assertThat(worker.error).isNull();
      assertThat(worker.completed).isTrue();
      assertThat(streams.size()).isZero();
    }
  }
}
