package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.connection.Settings;
import dev.baton.rpc.Access;
import dev.baton.transfer.ObjectTransfer;
import io.grpc.ManagedChannel;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/** The command {@code baton}: its verbs, and the options that stand with any of them. */
@Command(
    name = "baton",
    description = "Trains neural networks on GPUs that may vanish.",
    synopsisSubcommandLabel = "VERB",
    sortOptions = false,
    versionProvider = Version.class,
    footer = {
      "",
      "And, with options of their own (baton VERB --help):",
      "  coordinator  serves jobs, data sets and checkpoints",
      "  worker       trains jobs on this machine",
      "  machine      reports this machine's processors, memory and GPUs",
      "  bench        measures: bench train, bench coordinator",
      "",
      "Flags win over BATON_COORDINATOR and BATON_TOKEN, which win over coordinator, token and"
          + " token_file in ~/.config/baton/config.yaml.",
      "",
      "Exit codes: 0 done, 1 the job failed or the request was refused, 2 wrong usage or bad file,"
          + " 3 cancelled, 4 timed out, 5 coordinator not reachable."
    })
public final class Baton extends VerbGroup {
  /** Verbs that another part of Baton answers; known here to suggest them. */
  static final List<String> ELSEWHERE = List.of("coordinator", "worker", "machine", "bench");

  // Reading a verb's annotations takes longer than most verbs do: only those named are made.
  private static final Map<String, Function<Baton, CommandLine>> VERBS = new LinkedHashMap<>();

  static {
    VERBS.put("submit", baton -> new CommandLine(new Submit(baton)));
    VERBS.put("jobs", baton -> new CommandLine(new Jobs(baton)));
    VERBS.put("show", baton -> new CommandLine(new Show(baton)));
    VERBS.put("watch", baton -> new CommandLine(new Watch(baton)));
    VERBS.put("logs", baton -> new CommandLine(new Logs(baton)));
    VERBS.put("events", baton -> new CommandLine(new Events(baton)));
    VERBS.put("wait", baton -> new CommandLine(new Wait(baton)));
    VERBS.put("cancel", baton -> new CommandLine(new Cancel(baton)));
    VERBS.put("pause", baton -> new CommandLine(new Pause(baton)));
    VERBS.put("resume", baton -> new CommandLine(new Resume(baton)));
    VERBS.put("metrics", baton -> new CommandLine(new Metrics(baton)));
    VERBS.put("artifacts", Artifacts::line);
    VERBS.put("dataset", Datasets::line);
    VERBS.put("top", baton -> new CommandLine(new Top(baton)));
    VERBS.put("workers", baton -> new CommandLine(new Workers(baton)));
    VERBS.put("drain", baton -> new CommandLine(new Drain(baton)));
    VERBS.put("token", Token::line);
    VERBS.put("doctor", baton -> new CommandLine(new Doctor(baton)));
    VERBS.put("completion", baton -> new CommandLine(new Completion(baton)));
  }

  private final Shell shell;
  private @Nullable Settings settings;

  @Option(
      names = "--coordinator",
      paramLabel = "HOST:PORT",
      scope = ScopeType.INHERIT,
      description =
          "Where the coordinator is (default: where the token says, else 127.0.0.1:7070).")
  private @Nullable String coordinator;

  @Option(
      names = "--token-file",
      paramLabel = "FILE",
      scope = ScopeType.INHERIT,
      description = "A file that holds the token.")
  private @Nullable Path tokenFile;

  @Option(
      names = "--token",
      paramLabel = "TOKEN",
      scope = ScopeType.INHERIT,
      description = "The token itself; others on this machine may see it.")
  private @Nullable String token;

  @Option(
      names = "--insecure",
      scope = ScopeType.INHERIT,
      description = "Send a token that names no key unencrypted to another machine.")
  private boolean insecure;

  @Option(
      names = "--debug",
      scope = ScopeType.INHERIT,
      description = "Show logs, and the full trace of an error.")
  private boolean debug;

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      scope = ScopeType.INHERIT,
      description = "Show this help.")
  @SuppressWarnings("UnusedVariable") // picocli acts on it
  private boolean help;

  @Option(
      names = {"-V", "--version"},
      versionHelp = true,
      description = "Show the version.")
  @SuppressWarnings("UnusedVariable") // picocli acts on it
  private boolean version;

  private Baton(Shell shell) {
    this.shell = shell;
  }

  /** Runs a command line; the process's exit code. */
  public static int run(Shell shell, String... args) {
    Baton baton = new Baton(shell);
    CommandLine line = new CommandLine(baton);
    Set<String> words = Set.copyOf(Arrays.asList(args));
    boolean all = words.contains("-h") || words.contains("--help");
    VERBS.forEach(
        (verb, maker) -> {
          if (all || words.contains(verb)) {
            line.addSubcommand(verb, maker.apply(baton));
          }
        });
    // Help and version, which picocli prints outside the handlers' reach.
    StringWriter help = new StringWriter();
    ErrorLines errors = new ErrorLines(baton);
    line.setCaseInsensitiveEnumValuesAllowed(true)
        .setOut(new PrintWriter(help))
        .setUsageHelpWidth(Math.max(60, Math.min(110, shell.terminal().screen().columns())))
        .setColorScheme(CommandLine.Help.defaultColorScheme(CommandLine.Help.Ansi.OFF))
        .setAbbreviatedOptionsAllowed(false)
        .setParameterExceptionHandler(errors)
        .setExecutionExceptionHandler(errors);
    int code = line.execute(args);
    try {
      if (!help.toString().isEmpty()) {
        shell.terminal().print(help.toString());
      }
      return code;
    } catch (RuntimeException e) {
      return errors.report(e);
    }
  }

  /** With every verb of the client, whichever were named. */
  CommandLine wholeLine() {
    CommandLine line = new CommandLine(new Baton(shell));
    VERBS.forEach((verb, maker) -> line.addSubcommand(verb, maker.apply(this)));
    return line;
  }

  @Override
  List<String> verbs() {
    return everyVerb();
  }

  /** Those of other parts too. */
  static List<String> everyVerb() {
    return java.util.stream.Stream.concat(VERBS.keySet().stream(), ELSEWHERE.stream()).toList();
  }

  Shell shell() {
    return shell;
  }

  boolean debug() {
    return debug;
  }

  /** By what the coordinator is sought, as far as that is known. */
  Optional<Access> access() {
    return Optional.ofNullable(settings).map(Settings::access);
  }

  /** Moves objects between this machine and the coordinator's store. */
  ObjectTransfer transfer() {
    if (settings == null) {
      throw new IllegalStateException("not connected");
    }
    return shell.transfers().apply(settings);
  }

  /** What flags, environment and configuration file say together. */
  Settings settings() {
    Settings resolved =
        Settings.resolve(
            new Settings.Flags(coordinator, token, tokenFile, insecure), shell.environment());
    settings = resolved;
    return resolved;
  }

  /** Shuts libraries up, unless all is to be seen. */
  void quietLogs() {
    Logging.quiet(debug);
  }

  /** Opens a line to the coordinator; the caller closes it. */
  Connection connect() {
    Settings resolved = settings();
    quietLogs();
    ManagedChannel channel;
    try {
      channel = shell.connector().open(resolved);
    } catch (IllegalArgumentException e) {
      throw new CommandException(ExitCodes.USAGE, String.valueOf(e.getMessage()));
    }
    return new Connection(channel, resolved.access(), shell.time(), shell.terminal()::note);
  }
}
