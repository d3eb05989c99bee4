package dev.baton.coordinator.bench;

import dev.baton.coordinator.config.ConfigException;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code baton bench coordinator}: prints one line of JSON. */
@Command(
    name = "baton bench coordinator",
    description = "Measures a coordinator of its own, on this machine, over loopback.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
public final class BenchCommand implements Callable<Integer> {
  @Spec private @Nullable CommandSpec spec;

  @Option(
      names = "--workers",
      paramLabel = "N",
      defaultValue = "1000",
      description = "Workers that are connected (default ${DEFAULT-VALUE}).")
  private int workers;

  @Option(
      names = "--jobs",
      paramLabel = "N",
      defaultValue = "10000",
      description = "Jobs that are submitted, leased and finished (default ${DEFAULT-VALUE}).")
  private int jobs;

  @Option(
      names = "--seconds",
      paramLabel = "S",
      defaultValue = "10",
      description =
          "How long submissions, and heartbeats, are measured (default ${DEFAULT-VALUE}).")
  private int seconds;

  @Option(names = "--tls", description = "Encrypt what goes over loopback.")
  private boolean tls;

  @Override
  public Integer call() throws Exception {
    if (workers < 1 || jobs < 1 || seconds < 1) {
      throw new ConfigException("--workers, --jobs and --seconds must be at least 1");
    }
    Measurements m;
    try (var coordinator = CoordinatorProcess.start(tls)) {
      m = new Bench(coordinator, workers, jobs, seconds).run();
    }
    if (spec != null) {
      spec.commandLine().getOut().println(json(m));
    }
    return CommandLine.ExitCode.OK;
  }

  private static String json(Measurements m) {
    return String.format(
        Locale.ROOT,
        "{\"submits_per_second\": %.0f, \"submit_p99_ms\": %.2f, \"jobs_per_second\": %.0f,"
            + " \"heartbeats_per_second\": %.0f, \"heartbeat_p99_ms\": %.2f,"
            + " \"lease_p50_ms\": %.2f, \"rss_mib\": %d, \"store\": \"sqlite\"}",
        m.submitsPerSecond(),
        m.submitP99Ms(),
        m.jobsPerSecond(),
        m.heartbeatsPerSecond(),
        m.heartbeatP99Ms(),
        m.leaseP50Ms(),
        m.rssMib());
  }
}
