package dev.baton.coordinator;

import dev.baton.coordinator.auth.Tokens;
import dev.baton.coordinator.config.CertificateFiles;
import dev.baton.coordinator.config.ConfigException;
import dev.baton.coordinator.config.CoordinatorConfig;
import dev.baton.coordinator.config.DataDir;
import dev.baton.coordinator.config.ForeignStore;
import dev.baton.coordinator.core.Effect;
import dev.baton.coordinator.core.Now;
import dev.baton.coordinator.core.ObjectStore;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.StoreException;
import dev.baton.coordinator.grpc.Authentication;
import dev.baton.coordinator.grpc.GrpcApi;
import dev.baton.coordinator.grpc.Published;
import dev.baton.coordinator.grpc.UrlHost;
import dev.baton.coordinator.housekeeping.Housekeeper;
import dev.baton.coordinator.housekeeping.Reports;
import dev.baton.coordinator.loop.CoreLoop;
import dev.baton.coordinator.objectstore.EmbeddedS3;
import dev.baton.coordinator.objectstore.ForeignS3;
import dev.baton.coordinator.objectstore.S3Settings;
import dev.baton.coordinator.store.NewerDatabaseException;
import dev.baton.coordinator.store.Readers;
import dev.baton.coordinator.store.SqliteDatabase;
import dev.baton.coordinator.tls.ServerIdentity;
import dev.baton.coordinator.web.WebServer;
import dev.baton.rpc.Channels;
import dev.baton.rpc.HostPort;
import dev.baton.rpc.Pin;
import dev.baton.rpc.TokenText;
import io.grpc.Server;
import io.grpc.ServerServiceDefinition;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.InstantSource;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A whole coordinator in this process: the object graph, its start and its end. */
public final class Coordinator implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(Coordinator.class);
  private static final int BLOCKING_THREADS = 16;

  /** What was opened so far, the newest first: the order in which it is closed. */
  private final Deque<AutoCloseable> opened = new ArrayDeque<>();

  private final InstantSource clock;
  private final GrpcApi api = new GrpcApi();
  private final CoreLoop<Scheduler> loop;
  private final Reports reports;
  private final Authentication authentication;
  private final Server server;
  private final WebServer web;
  private final HostPort grpcAddress;
  private final HostPort httpAddress;
  private volatile boolean stopping;

  /**
   * Opens everything and serves.
   *
   * @param halt ends the process at once
   * @throws ConfigException where the environment refuses: one line
   */
  public static Coordinator start(
      CoordinatorConfig config, DataDir dataDir, InstantSource clock, Runnable halt) {
    return new Coordinator(config, dataDir, clock, halt);
  }

  private Coordinator(
      CoordinatorConfig config, DataDir dataDir, InstantSource clock, Runnable halt) {
    this.clock = clock;
    boolean done = false;
    try {
      Optional<ServerIdentity> identity =
          config.encrypted() ? Optional.of(identity(config, dataDir)) : Optional.empty();
      // It takes as long to start as the rest, and needs nothing of it.
      CompletableFuture<ObjectStore> startingObjects =
          CompletableFuture.supplyAsync(() -> openObjects(config, dataDir, identity));
      opened.push(() -> closeStarted(startingObjects));
      Path databaseFile = dataDir.resolve("coordinator.db");
      SqliteDatabase database = open(openDatabase(databaseFile));
      var readers = open(new Readers(databaseFile));
      var tokens = new Tokens(database.tokens().list());
      authentication = new Authentication(tokens, clock::millis);
      AdminToken adminToken = AdminToken.open(dataDir, database, tokens, clock.millis());
      ExecutorService blocking = blockingThreads();
      opened.push(() -> end(blocking));

      var scheduler = new Scheduler(database.stores(), config.file().lease(), new SecureRandom());
      loop = new CoreLoop<>(database, scheduler, new SchedulerBinding(), this::now, halt);
      loop.load();
      ObjectStore objects = join(startingObjects);
      reports = new Reports(loop, database.stores(), readers, objects, blocking);
      var housekeeper =
          open(new Housekeeper(loop, database.stores(), readers, objects, database.id(), clock));

      var urlHost = new UrlHost(config.advertise(), config.grpc().host());
      var published = new CompletableFuture<Published>();
      var parts =
          new GrpcApi.Parts(
              loop,
              tokens,
              authentication,
              database.tokens(),
              readers,
              objects,
              blocking,
              urlHost,
              published,
              reports::write);
      server =
          api.addTo(
                  Channels.configure(grpcServer(config, identity)).directExecutor(),
                  parts,
                  clock::millis)
              .build();
      var metrics = new Metrics(loop.stats(), readers::countJobs, api::sessions);
      web = open(openWeb(config, metrics, identity));
      loop.start();
      opened.push(loop);
      startServer(config.grpc());
      opened.push(server::shutdownNow);
      web.start();
      housekeeper.start();
      grpcAddress = new HostPort(config.grpc().host(), server.getPort());
      httpAddress = new HostPort(config.http().host(), web.port());
      var known =
          new Published(
              identity.map(ServerIdentity::pin).orElse(Pin.PLAIN),
              config.advertise(),
              ownHost(config, identity),
              grpcAddress,
              httpAddress);
      adminToken.publish(known.own());
      published.complete(known);
      done = true;
    } finally {
      if (!done) {
        closeAll();
      }
    }
  }

  private <T extends AutoCloseable> T open(T part) {
    opened.push(part);
    return part;
  }

  private static <T> T join(CompletableFuture<T> starting) {
    try {
      return starting.join();
    } catch (CompletionException e) {
      if (e.getCause() instanceof ConfigException refusal) {
        throw refusal;
      }
      throw e;
    }
  }

  /** Whoever fails to start does not wait for the reason, but leaves nothing behind. */
  private static void closeStarted(CompletableFuture<ObjectStore> starting) {
    var unused = starting.thenAccept(ObjectStore::close);
  }

  private Now now() {
    return new Now(System.nanoTime(), clock.millis());
  }

  private static SqliteDatabase openDatabase(Path file) {
    try {
      return SqliteDatabase.open(file);
    } catch (NewerDatabaseException | StoreException e) {
      throw new ConfigException(file + ": " + e.getMessage());
    }
  }

  private static ServerIdentity identity(CoordinatorConfig config, DataDir dataDir) {
    // Not the manual clock of a test: what it makes must be good for others today.
    InstantSource clock = InstantSource.system();
    if (config.certificate().isPresent()) {
      CertificateFiles files = config.certificate().get();
      return ServerIdentity.of(files.certificate(), files.key(), clock);
    }
    return ServerIdentity.own(
        dataDir,
        Stream.of(
                config.advertise(),
                Optional.of(config.grpc().host()).filter(host -> !isWildcard(host)),
                OwnHost.name(),
                OwnHost.address())
            .flatMap(Optional::stream)
            .filter(TokenText::isHost)
            .toList(),
        clock);
  }

  private static NettyServerBuilder grpcServer(
      CoordinatorConfig config, Optional<ServerIdentity> identity) {
    InetSocketAddress address = CoordinatorConfig.resolve("--listen", config.grpc());
    return identity
        .map(own -> NettyServerBuilder.forAddress(address, own.grpcCredentials()))
        .orElseGet(() -> NettyServerBuilder.forAddress(address));
  }

  /** The host by which others reach this machine, as well as it can be known here. */
  private static String ownHost(CoordinatorConfig config, Optional<ServerIdentity> identity) {
    if (config.advertise().isPresent()) {
      return config.advertise().get();
    }
    // A certificate that is verified by name must be called by that name.
    Optional<String> certified =
        identity
            .filter(own -> own.pin().equals(Pin.CA))
            .flatMap(own -> own.hostNames().stream().findFirst());
    String host = config.grpc().host();
    return certified.orElseGet(
        () -> isWildcard(host) ? OwnHost.address().orElse("127.0.0.1") : host);
  }

  private static boolean isWildcard(String host) {
    return CoordinatorConfig.resolve("--listen", new HostPort(host, 0))
        .getAddress()
        .isAnyLocalAddress();
  }

  private static ObjectStore openObjects(
      CoordinatorConfig config, DataDir dataDir, Optional<ServerIdentity> identity) {
    try {
      if (config.file().objects().isPresent()) {
        ForeignStore foreign = config.file().objects().get();
        return ForeignS3.open(
            new S3Settings(
                foreign.endpoint(),
                foreign.region(),
                foreign.bucket(),
                foreign.accessKey(),
                foreign.secretKey()),
            InstantSource.system());
      }
      return EmbeddedS3.start(dataDir.path(), config.objects(), identity, InstantSource.system());
    } catch (IllegalArgumentException e) {
      throw new ConfigException("objects: " + e.getMessage());
    } catch (ObjectStoreException e) {
      throw new ConfigException(String.valueOf(e.getMessage()));
    }
  }

  private static ExecutorService blockingThreads() {
    var threads =
        new ThreadPoolExecutor(
            BLOCKING_THREADS,
            BLOCKING_THREADS,
            10,
            TimeUnit.SECONDS,
            new LinkedBlockingQueue<>(),
            task -> {
              var thread = new Thread(task, "blocking");
              thread.setDaemon(true);
              return thread;
            });
    threads.allowCoreThreadTimeOut(true);
    return threads;
  }

  /** Reports that are being written get a moment to be through. */
  private static void end(ExecutorService threads) throws InterruptedException {
    threads.shutdown();
    if (!threads.awaitTermination(1, TimeUnit.SECONDS)) {
      threads.shutdownNow();
    }
  }

  private static WebServer openWeb(
      CoordinatorConfig config, Metrics metrics, Optional<ServerIdentity> identity) {
    try {
      return new WebServer(
          CoordinatorConfig.resolve("--http", config.http()),
          metrics::text,
          config.releases(),
          identity.map(ServerIdentity::serverContext));
    } catch (IOException e) {
      throw new ConfigException(
          "--http " + config.http() + ": cannot listen there: " + e.getMessage());
    }
  }

  private void startServer(HostPort address) {
    try {
      server.start();
    } catch (IOException e) {
      Throwable cause = e.getCause() == null ? e : e.getCause();
      throw new ConfigException(
          "--listen " + address + ": cannot listen there: " + cause.getMessage());
    }
  }

  /** How the loop drives the scheduler and where its effects go. */
  private final class SchedulerBinding implements CoreLoop.Binding<Scheduler> {
    @Override
    public void start(Scheduler core, Now now) {
      core.start(now);
    }

    @Override
    public void reload(Scheduler core, Now now) {
      core.reload(now);
    }

    @Override
    public void tick(Scheduler core, Now now) {
      core.tick(now);
      authentication.endExpired();
    }

    @Override
    public List<Effect> takeEffects(Scheduler core) {
      return core.drainEffects();
    }

    @Override
    public void deliver(Effect effect) {
      api.deliver(effect);
      if (effect instanceof Effect.Ended ended) {
        var unused =
            reports
                .write(ended.jobId())
                .whenComplete(
                    (done, failure) -> {
                      if (failure != null && !stopping) {
                        log.warn(
                            "job {}: its reports are not written yet; they are when somebody asks",
                            ended.jobId(),
                            failure);
                      }
                    });
      }
    }
  }

  /** Where the services listen. */
  public HostPort grpcAddress() {
    return grpcAddress;
  }

  /** The services that callers find, each with its methods. */
  List<ServerServiceDefinition> services() {
    return server.getServices();
  }

  /** Where HTTP is served. */
  public HostPort httpAddress() {
    return httpAddress;
  }

  /**
   * Stops in good order within 5 s: takes no new calls, finishes what was begun, tells the workers
   * that it means to be back. Changes no lease.
   */
  @Override
  public void close() {
    stopping = true;
    log.info("stopping");
    server.shutdown();
    var told =
        loop.submit(
            (core, now) -> {
              api.sayRestarting();
              return true;
            });
    try {
      told.get(2, TimeUnit.SECONDS);
      boolean ended = server.awaitTermination(1, TimeUnit.SECONDS);
      log.info(ended ? "every call has ended" : "calls that still run are cut off");
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (Exception e) {
      log.warn("the workers were not told", e);
    }
    closeAll();
    log.info("stopped");
  }

  private void closeAll() {
    for (AutoCloseable part = opened.poll(); part != null; part = opened.poll()) {
      try {
        part.close();
      } catch (Exception e) {
        log.warn("{} did not close", part, e);
      }
    }
  }
}
