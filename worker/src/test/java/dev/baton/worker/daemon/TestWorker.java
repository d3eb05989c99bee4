package dev.baton.worker.daemon;

import static dev.baton.worker.testing.Eventually.await;

import dev.baton.rpc.Access;
import dev.baton.rpc.Channels;
import dev.baton.rpc.HostPort;
import dev.baton.rpc.Pin;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Machine;
import dev.baton.v1.OrderKind;
import dev.baton.worker.cache.DatasetCache;
import dev.baton.worker.config.PortRange;
import dev.baton.worker.grpc.GrpcCoordinator;
import dev.baton.worker.natives.NativeLibraries;
import dev.baton.worker.process.TrainerCommand;
import dev.baton.worker.testing.FakeCoordinator;
import dev.baton.worker.testing.FakeTrainer;
import io.grpc.ManagedChannel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;

/** A whole worker with processes for trainers, of a coordinator that does as the test says. */
final class TestWorker implements AutoCloseable {
  final Path dir;
  final FakeCoordinator coordinator;
  final ThreadLoop loop = new ThreadLoop();
  final WorkerDaemon daemon;
  private final ManagedChannel channel;
  private final ExecutorService io = Executors.newCachedThreadPool();

  /** Starts it; returns once the coordinator knows all about it. */
  TestWorker(Path dir, int slots) throws Exception {
    this(dir, slots, 0);
  }

  /** The same on a machine with GPUs, of which its trainers make no use. */
  TestWorker(Path dir, int slots, int gpus) throws Exception {
    this.dir = dir;
    coordinator = new FakeCoordinator(100, 2_000);
    channel = Channels.open(coordinator.address(), FakeCoordinator.TOKEN);
    Machine.Builder machine = Machine.newBuilder().setCpus(2);
    IntStream.range(0, gpus).forEach(i -> machine.addGpusBuilder().setIndex(i));
    daemon =
        new WorkerDaemon(
            new WorkerDaemon.Identity("worker-1", "w1", slots),
            machine.build(),
            new WorkerDaemon.Reach(
                "worker-1.example", 7_654, "here", new PortRange(40_001, 40_009)),
            new WorkerDaemon.Parts(
                new GrpcCoordinator(
                    channel,
                    new Access(
                        HostPort.parse(coordinator.address()), Pin.PLAIN, FakeCoordinator.TOKEN)),
                coordinator.store,
                new DatasetCache(dir, 1 << 20, Clock.systemUTC()),
                new TrainerCommand(
                    Path.of(System.getProperty("java.home"), "bin", "java"),
                    System.getProperty("java.class.path"),
                    FakeTrainer.class.getName(),
                    64 << 20,
                    64 << 20,
                    NativeLibraries.onClassPath(List.of())),
                dir,
                loop,
                io,
                TimeUnit.SECONDS.toNanos(2)));
    daemon.start();
    daemon.welcomed().get(30, TimeUnit.SECONDS);
    await(
        "its spare trainer is known to be fit for gangs",
        () -> coordinator.copy(coordinator.heartbeats).stream().anyMatch(Heartbeat::getReplicas));
  }

  /** How many things lie in a folder of its work directory. */
  int entries(String folder) {
    try (Stream<Path> children = Files.list(dir.resolve(folder))) {
      return (int) children.count();
    } catch (IOException e) {
      return 0;
    }
  }

  /** The nth end that the coordinator was told of, from 1; waits for it. */
  FinishAttemptRequest finished(int n) {
    await("attempt " + n + " ends", () -> coordinator.copy(coordinator.finished).size() >= n);
    return coordinator.copy(coordinator.finished).get(n - 1);
  }

  /** The newest step of which the coordinator has heard. */
  long reportedStep() {
    return coordinator.copy(coordinator.progress).stream()
        .mapToLong(p -> p.getProgress().getStep())
        .max()
        .orElse(0);
  }

  /** Whether its last heartbeat says that it has prepared a job. */
  boolean prepared() {
    return lastHeartbeat().map(beat -> beat.getPreparedJobsCount() == 1).orElse(false);
  }

  /** Whether its last heartbeat lists no lease. */
  boolean idle() {
    return lastHeartbeat().map(beat -> beat.getLeasesCount() == 0).orElse(false);
  }

  private Optional<Heartbeat> lastHeartbeat() {
    return coordinator.copy(coordinator.heartbeats).stream().reduce((a, b) -> b);
  }

  /** Trains a while and hands over, as another worker would have done before. */
  void handedOverOnce(String job, String name, long step) {
    LeaseRef lease = coordinator.offer(coordinator.assignment(job, name));
    await("trains", () -> reportedStep() >= step);
    coordinator.order(lease, OrderKind.ORDER_KIND_HAND_OVER, "");
    await("released", () -> !coordinator.stands(lease));
    await("idle", this::idle);
  }

  /** The steps from the first to the nth. */
  static List<Long> steps(long n) {
    return LongStream.rangeClosed(1, n).boxed().toList();
  }

  @Override
  public void close() throws Exception {
    coordinator.store.hold(false);
    daemon.leave("the test is over");
    daemon.ended().get(30, TimeUnit.SECONDS);
    channel.shutdownNow();
    loop.close();
    io.shutdown();
    coordinator.close();
  }
}
