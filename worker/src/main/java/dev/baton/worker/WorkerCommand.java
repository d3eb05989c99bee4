package dev.baton.worker;

import dev.baton.rpc.Access;
import dev.baton.rpc.Channels;
import dev.baton.rpc.HostPort;
import dev.baton.rpc.Proxies;
import dev.baton.rpc.TokenText;
import dev.baton.transfer.Bandwidth;
import dev.baton.transfer.FileProblems;
import dev.baton.transfer.HttpObjectTransfer;
import dev.baton.v1.CoordinatorInfo;
import dev.baton.v1.Machine;
import dev.baton.worker.cache.DatasetCache;
import dev.baton.worker.config.ByteSize;
import dev.baton.worker.config.PortRange;
import dev.baton.worker.config.WorkerConfig;
import dev.baton.worker.daemon.LoopbackId;
import dev.baton.worker.daemon.MachineProbe;
import dev.baton.worker.daemon.ProbeListener;
import dev.baton.worker.daemon.ThreadLoop;
import dev.baton.worker.daemon.WorkDir;
import dev.baton.worker.daemon.WorkerDaemon;
import dev.baton.worker.grpc.GrpcCoordinator;
import dev.baton.worker.lease.CoordinatorException;
import dev.baton.worker.lease.HeldLease;
import dev.baton.worker.leaving.EndOfLife;
import dev.baton.worker.leaving.ExitReason;
import dev.baton.worker.leaving.LeavingOptions;
import dev.baton.worker.leaving.OnExit;
import dev.baton.worker.leaving.Presence;
import dev.baton.worker.leaving.PresenceWatch;
import dev.baton.worker.leaving.UploadTimes;
import dev.baton.worker.natives.NativeLibraries;
import dev.baton.worker.process.StallWatch;
import dev.baton.worker.process.TrainerCommand;
import io.grpc.ManagedChannel;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.ZoneId;
import java.time.ZonedDateTime;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code baton worker}. */
@Command(
    name = "worker",
    description = "Runs the worker daemon: takes jobs from a coordinator and trains them here.",
    mixinStandardHelpOptions = true)
final class WorkerCommand implements Callable<Integer> {
  private static final Logger log = LoggerFactory.getLogger(WorkerCommand.class);

  private static final String TRAINER_MAIN = "dev.baton.worker.trainer.TrainerMain";
  // The zone of --hours and --ends-at is the machine's.
  private static final Clock LOCAL = Clock.system(ZoneId.systemDefault());
  private static final long CLOSE_MILLIS = 300;
  private static final long MIN_HEAP_BYTES = 256L << 20;
  private static final long MAX_HEAP_BYTES = 2L << 30;

  @Spec private @Nullable CommandSpec spec;

  @Option(
      names = "--coordinator",
      paramLabel = "HOST:PORT",
      defaultValue = "${env:BATON_COORDINATOR}",
      description = "The coordinator's gRPC address (else $BATON_COORDINATOR, else the token's).")
  private @Nullable String coordinator;

  @Option(
      names = "--token-file",
      paramLabel = "FILE",
      description = "A file that holds a token of role worker (else $BATON_TOKEN).")
  private @Nullable Path tokenFile;

  @Option(
      names = "--insecure",
      description = "Send a token that names no key unencrypted to another machine.")
  private boolean insecure;

  @Option(
      names = "--work-dir",
      paramLabel = "DIR",
      required = true,
      description = "Where data sets, logs and attempts lie; of this worker alone.")
  private @Nullable Path workDir;

  @Option(names = "--name", description = "A label; default: the host's name.")
  private @Nullable String name;

  @Option(
      names = "--slots",
      paramLabel = "K",
      description = "Jobs at a time; default: one, or one for each GPU.")
  private @Nullable Integer slots;

  @Option(
      names = "--cache-quota",
      paramLabel = "SIZE",
      defaultValue = "20Gi",
      description = "Disk for data sets; default: ${DEFAULT-VALUE}.")
  private String cacheQuota = "20Gi";

  @Option(
      names = "--cpus",
      paramLabel = "N",
      description = "Processors to offer; default: those of this machine or container.")
  private @Nullable Integer cpus;

  @Option(
      names = "--advertise",
      paramLabel = "HOST",
      description =
          "Where workers on other machines reach this one, for jobs with several replicas; default:"
              + " they do not.")
  private @Nullable String advertise;

  @Option(
      names = "--ports",
      paramLabel = "FIRST-LAST",
      description = "Ports to meet those workers on; default: any.")
  private @Nullable String ports;

  @Option(
      names = "--allow-cpu",
      description = "Train on CPUs where this machine's GPU cannot be used.")
  private boolean allowCpu;

  @Option(
      names = "--bandwidth",
      paramLabel = "RATE",
      description =
          "Bits per second for data sets and checkpoints, both ways together: 500kbit, 20Mbit,"
              + " 1Gbit; default: no limit.")
  private @Nullable String bandwidth;

  @Mixin private LeavingOptions leaving = new LeavingOptions();

  /** Where the class of the trainer's main can be replaced by a test's. */
  private final String trainerMain;

  WorkerCommand() {
    this(TRAINER_MAIN);
  }

  WorkerCommand(String trainerMain) {
    this.trainerMain = trainerMain;
  }

  @Override
  public Integer call() throws IOException, InterruptedException {
    WorkerConfig config;
    Presence presence;
    try {
      config = config();
      presence = leaving.presence(ZonedDateTime.now(LOCAL), System.nanoTime());
    } catch (IllegalArgumentException e) {
      throw new CommandLine.ParameterException(commandLine(), String.valueOf(e.getMessage()), e);
    }
    try (WorkDir dir = WorkDir.open(config.workDir())) {
      WorkerLog.toFile(log(dir));
      // Where gRPC unpacks its transport.
      System.setProperty("java.io.tmpdir", dir.temporary().toString());
      return run(config, presence, dir);
    }
  }

  private static Path log(WorkDir dir) {
    return dir.path().resolve("worker.log");
  }

  /**
   * What the options say together.
   *
   * @throws IllegalArgumentException in one line, where one of them makes no sense
   */
  WorkerConfig config() {
    Optional<HostPort> address =
        Optional.ofNullable(coordinator).filter(text -> !text.isEmpty()).map(HostPort::parse);
    if (workDir == null) {
      throw new IllegalArgumentException("no --work-dir");
    }
    return new WorkerConfig(
        Access.of(TokenText.parse(token()), address, insecure),
        workDir,
        name == null ? label(MachineProbe.hostname()) : name,
        positive("--slots", slots),
        ByteSize.parse(cacheQuota),
        positive("--cpus", cpus),
        Optional.ofNullable(advertise).filter(host -> !host.isEmpty()),
        portRange(),
        limit());
  }

  private Bandwidth limit() {
    try {
      return bandwidth == null ? Bandwidth.UNLIMITED : Bandwidth.parse(bandwidth);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("--bandwidth: " + e.getMessage(), e);
    }
  }

  /** Whether a GPU that cannot be used is no reason to refuse. */
  boolean allowsCpu() {
    return allowCpu;
  }

  private PortRange portRange() {
    try {
      return ports == null ? PortRange.ANY : PortRange.parse(ports);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("--ports: " + e.getMessage(), e);
    }
  }

  private static int positive(String option, @Nullable Integer value) {
    if (value == null) {
      return 0;
    }
    if (value < 1) {
      throw new IllegalArgumentException(option + ": " + value + "; expected 1 or more");
    }
    return value;
  }

  // A host's name may hold what a label may not.
  private static String label(String hostname) {
    String label = hostname.replaceAll("[^A-Za-z0-9._-]", "-").replaceAll("^[._-]+", "");
    return label.isEmpty() ? "worker" : label.substring(0, Math.min(63, label.length()));
  }

  private String token() {
    if (tokenFile == null) {
      String token = System.getenv("BATON_TOKEN");
      if (token == null || token.isBlank()) {
        throw new IllegalArgumentException("no token: give --token-file FILE or set BATON_TOKEN");
      }
      return token.strip();
    }
    try {
      String token = Files.readString(tokenFile).strip();
      if (token.isEmpty()) {
        throw new IllegalArgumentException("--token-file: " + tokenFile + " is empty");
      }
      return token;
    } catch (IOException e) {
      throw new IllegalArgumentException(
          "--token-file: cannot read " + FileProblems.describe(tokenFile, e), e);
    }
  }

  private int run(WorkerConfig config, Presence presence, WorkDir dir)
      throws IOException, InterruptedException {
    Machine found = MachineProbe.probe(dir.path(), config.cpus());
    NativeLibraries natives =
        NativeLibraries.ofLauncher(dir.path().resolve("cuda"), found.getGpusList());
    natives.refuseWhatDoesNotFit(allowCpu);
    log.info("{}", natives.summary());
    // Jobs get no GPU that libtorch cannot use.
    Machine machine = found.toBuilder().clearGpus().addAllGpus(natives.gpus()).build();
    int jobs = config.slots() > 0 ? config.slots() : Math.max(1, machine.getGpusCount());
    Proxies proxies = Proxies.of(System.getenv());
    ManagedChannel channel;
    try {
      channel = Channels.open(config.access(), proxies);
    } catch (IllegalArgumentException e) {
      throw new CommandLine.ParameterException(commandLine(), String.valueOf(e.getMessage()), e);
    }
    ExecutorService io =
        Executors.newCachedThreadPool(
            task -> {
              Thread thread = new Thread(task, "io");
              thread.setDaemon(true);
              return thread;
            });
    log.info("{}", config);
    String id = UUID.randomUUID().toString();
    UploadTimes transfer =
        new UploadTimes(
            new HttpObjectTransfer(config.access(), proxies, config.bandwidth()), System::nanoTime);
    try (ThreadLoop loop = new ThreadLoop();
        ProbeListener probes =
            ProbeListener.open(id, config.advertise().isPresent(), config.ports())) {
      GrpcCoordinator reached = new GrpcCoordinator(channel, config.access());
      WorkerDaemon daemon =
          new WorkerDaemon(
              new WorkerDaemon.Identity(id, config.name(), jobs),
              machine,
              new WorkerDaemon.Reach(
                  config.advertise().orElse(""), probes.port(), LoopbackId.find(), config.ports()),
              new WorkerDaemon.Parts(
                  reached,
                  transfer,
                  new DatasetCache(dir.path(), config.cacheQuotaBytes(), Clock.systemUTC()),
                  trainerCommand(machine, natives),
                  dir.path(),
                  loop,
                  io,
                  StallWatch.LEAST_NANOS));
      var unusedReady = daemon.welcomed().thenRun(() -> ready(config));
      CountDownLatch closed = new CountDownLatch(1);
      Departure departure = new Departure(daemon);
      Thread atSignal = new Thread(() -> leave(daemon, departure, closed), "signal");
      Runtime.getRuntime().addShutdownHook(atSignal);
      daemon.start();
      PresenceWatch watch = new PresenceWatch(presence, departure, transfer::longest, LOCAL, loop);
      watch.start();
      var unusedAnswer = daemon.welcomed().thenRunAsync(() -> heedTokensEnd(reached, watch), io);
      leaving.spotWatch(notice -> departure.leave(ExitReason.SPOT, notice)).start();
      try {
        await(daemon);
        if (departure.refusal().isPresent()) {
          throw new IOException(departure.refusal().get());
        }
        return CommandLine.ExitCode.OK;
      } finally {
        // The session's end is on its way.
        channel.shutdown();
        channel.awaitTermination(CLOSE_MILLIS, TimeUnit.MILLISECONDS);
        channel.shutdownNow();
        io.shutdownNow();
        try {
          onExit(daemon, departure, log(dir));
        } finally {
          closed.countDown();
        }
      }
    }
  }

  // Without a token nothing could be handed over, so that it must go before.
  private static void heedTokensEnd(GrpcCoordinator coordinator, PresenceWatch watch) {
    try {
      for (long wait = HeldLease.firstWait(); ; wait = HeldLease.nextWait(wait)) {
        try {
          CoordinatorInfo info = coordinator.info();
          if (info.getTokenExpiresAtMs() != 0) {
            // Its clock counts, not this machine's.
            watch.alsoEnds(
                EndOfLife.ofToken(LOCAL.instant(), info.getTokenExpiresAtMs() - info.getTimeMs()));
          }
          return;
        } catch (CoordinatorException e) {
          if (e.kind() != CoordinatorException.Kind.TRY_AGAIN) {
            log.info("the token's end is not known: {}", e.getMessage());
            return;
          }
        }
        Thread.sleep(wait);
      }
    } catch (InterruptedException e) {
      log.debug("the worker has ended");
    }
  }

  // Not where it never began to work: an error at its start is to be mended.
  private void onExit(WorkerDaemon daemon, Departure departure, Path output)
      throws InterruptedException {
    if (leaving.onExit().isPresent()
        && (departure.exitReason().isPresent() || daemon.welcomed().isDone())) {
      OnExit.run(leaving.onExit().get(), departure.exitReason().orElse(ExitReason.REFUSED), output);
    }
  }

  private void ready(WorkerConfig config) {
    PrintWriter out = commandLine().getOut();
    out.println("ready worker=" + config.name());
    out.flush();
  }

  // A signal arrives as the JVM's shutdown, whose exit code would be the signal's: halts with 0
  // when everything is handed over.
  private static void leave(WorkerDaemon daemon, Departure departure, CountDownLatch closed) {
    if (daemon.ended().isDone()) {
      return;
    }
    departure.leave(ExitReason.SIGNAL, "SIGTERM");
    try {
      // The main thread, which knows what comes after the end.
      closed.await();
      WorkerLog.close();
      if (!daemon.ended().isCompletedExceptionally()) {
        Runtime.getRuntime().halt(0);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static void await(WorkerDaemon daemon) throws IOException, InterruptedException {
    try {
      var unused = daemon.ended().get();
    } catch (ExecutionException e) {
      if (e.getCause() instanceof IOException refusal) {
        throw refusal;
      }
      throw new IllegalStateException("the worker ended", e.getCause());
    }
  }

  private TrainerCommand trainerCommand(Machine machine, NativeLibraries natives) {
    long memory = machine.getMemoryBytes();
    return new TrainerCommand(
        Path.of(String.valueOf(System.getProperty("java.home")), "bin", "java"),
        String.valueOf(System.getProperty("java.class.path")),
        trainerMain,
        Math.max(MIN_HEAP_BYTES, Math.min(MAX_HEAP_BYTES, memory / 4)),
        Math.max(MIN_HEAP_BYTES, memory),
        natives);
  }

  private CommandLine commandLine() {
    if (spec == null) {
      throw new IllegalStateException("picocli has not filled in the command");
    }
    return spec.commandLine();
  }
}
