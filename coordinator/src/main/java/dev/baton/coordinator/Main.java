package dev.baton.coordinator;

import dev.baton.coordinator.bench.BenchCommand;
import dev.baton.coordinator.config.CertificateFiles;
import dev.baton.coordinator.config.ConfigException;
import dev.baton.coordinator.config.ConfigLoader;
import dev.baton.coordinator.config.CoordinatorConfig;
import dev.baton.coordinator.config.DataDir;
import dev.baton.coordinator.config.Encryption;
import dev.baton.coordinator.config.FileConfig;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.InstantSource;
import java.util.Arrays;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import org.jspecify.annotations.Nullable;
import org.slf4j.LoggerFactory;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code baton coordinator}. Exit codes: 0 stopped, 1 it failed, 2 wrong usage or environment. */
@Command(
    name = "baton coordinator",
    description = "Leases training jobs to workers, and keeps what they save.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
public final class Main implements Callable<Integer> {
  @Spec
  @SuppressWarnings("NullAway.Init") // picocli sets it.
  private CommandSpec spec;

  @Option(
      names = "--data-dir",
      required = true,
      paramLabel = "DIR",
      description = "Everything the coordinator keeps; created where it is missing.")
  @SuppressWarnings("NullAway.Init") // picocli sets it.
  private Path dataDir;

  @Option(
      names = "--listen",
      paramLabel = "HOST:PORT",
      defaultValue = "127.0.0.1:7070",
      description = "gRPC, for clients and workers (default ${DEFAULT-VALUE}; port 0: any).")
  private String listen = "";

  @Option(
      names = "--http",
      paramLabel = "HOST:PORT",
      defaultValue = "127.0.0.1:7071",
      description = "HTTP: /healthz, /metrics, /join, /releases/ (default ${DEFAULT-VALUE}).")
  private String http = "";

  @Option(
      names = "--objects",
      paramLabel = "HOST:PORT",
      defaultValue = "127.0.0.1:7072",
      description = "The embedded object store (default ${DEFAULT-VALUE}).")
  private String objects = "";

  @Option(
      names = "--advertise",
      paramLabel = "HOST",
      description = "The host that URLs name; default: the one by which a caller came.")
  private @Nullable String advertise;

  @Option(
      names = "--releases",
      paramLabel = "DIR",
      // The launcher names the archive's own releases/, where it has one.
      defaultValue = "${sys:baton.releases}",
      description = "A folder of release archives, with SHA256SUMS, for workers that join.")
  private @Nullable Path releases;

  @Option(
      names = "--config",
      paramLabel = "FILE",
      description =
          "YAML: an object store of your own (objects), times of leases (lease), a certificate"
              + " (tls).")
  private @Nullable Path config;

  @Option(
      names = "--tls",
      description = "Speak TLS on loopback too; beyond it the coordinator always does.")
  private boolean tls;

  @Option(
      names = "--tls-cert",
      paramLabel = "FILE",
      description = "A certificate of your own (PEM), with --tls-key; default: one made here.")
  private @Nullable Path certificate;

  @Option(names = "--tls-key", paramLabel = "FILE", description = "Its private key (PEM, PKCS#8).")
  private @Nullable Path certificateKey;

  @Option(
      names = "--insecure",
      description = "Encrypt nothing, beyond loopback neither: everybody on the way can read.")
  private boolean insecure;

  /**
   * Runs a coordinator until it is told to stop, or {@code bench coordinator}, or {@code doctor}.
   */
  public static void main(String[] args) {
    Logging.begin();
    // The launcher hands the verbs on.
    String verb = args.length > 0 ? args[0] : "";
    boolean bench = verb.equals("bench") && args.length > 1 && args[1].equals("coordinator");
    boolean doctor = verb.equals("doctor");
    int verbs = bench ? 2 : doctor || verb.equals("coordinator") ? 1 : 0;
    System.exit(
        commandLine(bench ? new BenchCommand() : doctor ? new Doctor() : new Main())
            .execute(Arrays.copyOfRange(args, verbs, args.length)));
  }

  /** The module's verbs, as words behind {@code baton}: for completion in shells. */
  public static CommandLine everyVerb() {
    return new CommandLine(CommandSpec.create().name("baton"))
        .addSubcommand("coordinator", new Main())
        .addSubcommand("doctor", new Doctor())
        .addSubcommand(
            "bench",
            new CommandLine(CommandSpec.create().name("bench"))
                .addSubcommand("coordinator", new BenchCommand()));
  }

  /** A command line whose errors are one line on standard error. */
  public static CommandLine commandLine(Object command) {
    return new CommandLine(command)
        .setParameterExceptionHandler(
            (e, args) -> {
              e.getCommandLine().getErr().println(firstLine(e));
              return CommandLine.ExitCode.USAGE;
            })
        .setExecutionExceptionHandler(
            (e, line, result) -> {
              if (e instanceof ConfigException) {
                line.getErr().println(firstLine(e));
                return CommandLine.ExitCode.USAGE;
              }
              LoggerFactory.getLogger(Main.class).error("the coordinator failed", e);
              line.getErr().println("the coordinator failed: " + e);
              return CommandLine.ExitCode.SOFTWARE;
            });
  }

  private static String firstLine(Exception e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse("");
  }

  /** What the options, and the file that they name, say together. */
  CoordinatorConfig settings() {
    FileConfig file =
        config == null ? FileConfig.DEFAULT : new ConfigLoader(System::getenv).load(config);
    return new CoordinatorConfig(
        dataDir,
        CoordinatorConfig.address("--listen", listen),
        CoordinatorConfig.address("--http", http),
        CoordinatorConfig.address("--objects", objects),
        Optional.ofNullable(advertise),
        Optional.ofNullable(releases),
        file,
        encryption(),
        certificate().or(file::tls));
  }

  @Override
  public Integer call() throws Exception {
    CoordinatorConfig settings = settings();
    try (DataDir locked = DataDir.open(dataDir)) {
      Logging.toFile(locked.resolve("coordinator.log"));
      // Where SQLite and gRPC unpack their libraries.
      System.setProperty("java.io.tmpdir", locked.temporary().toString());
      serve(settings, locked, spec.commandLine().getOut());
    }
    return CommandLine.ExitCode.OK;
  }

  private Encryption encryption() {
    if (tls && insecure) {
      throw new ConfigException("--tls and --insecure exclude each other; give one");
    }
    return tls ? Encryption.ALWAYS : insecure ? Encryption.NEVER : Encryption.WHERE_NEEDED;
  }

  private Optional<CertificateFiles> certificate() {
    if (certificate != null && certificateKey != null) {
      return Optional.of(new CertificateFiles(certificate, certificateKey));
    }
    if (certificate != null || certificateKey != null) {
      throw new ConfigException("--tls-cert and --tls-key belong together; give both");
    }
    return Optional.empty();
  }

  private static void serve(CoordinatorConfig settings, DataDir locked, PrintWriter out)
      throws InterruptedException {
    Coordinator coordinator =
        Coordinator.start(
            settings,
            locked,
            InstantSource.system(),
            () -> Runtime.getRuntime().halt(CommandLine.ExitCode.SOFTWARE));
    // SIGTERM runs the hook while this thread waits; the process ends when the hook has.
    Runtime.getRuntime().addShutdownHook(new Thread(coordinator::close, "stop"));
    out.println("ready grpc=" + coordinator.grpcAddress() + " http=" + coordinator.httpAddress());
    out.flush();
    new CountDownLatch(1).await();
  }
}
