package dev.baton.worker.leaving;

import dev.baton.worker.config.TimeSpan;
import java.net.URI;
import java.time.Duration;
import java.time.ZonedDateTime;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The options that say when a worker works, and when it goes. */
public final class LeavingOptions {
  @Option(
      names = "--ends-in",
      paramLabel = "SPAN",
      description =
          "This machine goes in 11h30m, say: jobs are handed over in time, and none is taken that"
              + " could store nothing before.")
  private @Nullable String endsIn;

  @Option(
      names = "--ends-at",
      paramLabel = "TIME",
      description = "The same by the clock: 07:30, 2026-03-01T07:30, 2026-03-01T06:30Z.")
  private @Nullable String endsAt;

  @Option(
      names = "--hours",
      paramLabel = "RANGES",
      description =
          "Work only at these hours, local time: 22:00-07:00 or 12:00-13:00,22:00-07:00. Outside"
              + " them jobs are handed over, none is taken, and memory and processors are left"
              + " alone.")
  private @Nullable String hours;

  @Option(
      names = "--idle-exit",
      paramLabel = "SPAN",
      description = "End after that long without a job: 20m. Time outside --hours does not count.")
  private @Nullable String idleExit;

  @Option(
      names = "--on-exit",
      paramLabel = "COMMAND",
      description =
          "When the worker has ended, but for kill -9 and errors at its start, run this by sh -c"
              + " (sudo poweroff); BATON_EXIT_REASON is signal, end, spot, idle or refused.")
  private @Nullable String onExit;

  @Option(
      names = "--spot",
      paramLabel = "CLOUD",
      defaultValue = "auto",
      description =
          "Whose notice that it takes this machine back is heeded: auto (whose machine it is), aws,"
              + " gcp, azure or none; default: ${DEFAULT-VALUE}.")
  private SpotWatch.Choice spot = SpotWatch.Choice.AUTO;

  @Option(names = "--metadata-service", paramLabel = "URL", hidden = true)
  private @Nullable URI metadataService;

  /**
   * When the worker is to be there.
   *
   * @param nowNanos of a monotonic clock
   * @throws IllegalArgumentException in one line that names the option
   */
  public Presence presence(ZonedDateTime now, long nowNanos) {
    if (endsIn != null && endsAt != null) {
      throw new IllegalArgumentException("--ends-in and --ends-at: expected one of them");
    }
    Optional<EndOfLife> end =
        endsIn == null
            ? parsed("--ends-at", endsAt, text -> EndOfLife.at(text, now))
            : parsed("--ends-in", endsIn, TimeSpan::parse)
                .map(span -> new EndOfLife(now.toInstant().plus(span)));
    Optional<Duration> idle = parsed("--idle-exit", idleExit, TimeSpan::parse);
    return new Presence(
        end, parsed("--hours", hours, Hours::parse).orElse(Hours.ALL), idle, nowNanos);
  }

  private static <T> Optional<T> parsed(
      String option, @Nullable String text, Function<String, T> parse) {
    try {
      return Optional.ofNullable(text).map(parse);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(option + ": " + e.getMessage(), e);
    }
  }

  /** What waits for a cloud's notice, not started yet. */
  public SpotWatch spotWatch(Consumer<String> onNotice) {
    return new SpotWatch(spot, Optional.ofNullable(metadataService), onNotice);
  }

  /** The command to be run at the end. */
  public Optional<String> onExit() {
    return Optional.ofNullable(onExit);
  }
}
