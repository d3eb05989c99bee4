package dev.baton.client.testing;

import dev.baton.client.connection.Time;
import java.time.Duration;

/** Time that passes only by sleeping, at once. */
public final class ManualTime implements Time {
  /** 2026-01-01T00:00:00Z. */
  public static final long START_MILLIS = 1_767_225_600_000L;

  private long nanos;
  private Runnable whileAsleep = () -> {};

  @Override
  public long nanos() {
    return nanos;
  }

  @Override
  public long millis() {
    return START_MILLIS + nanos / 1_000_000;
  }

  @Override
  public void sleep(Duration duration) {
    nanos += duration.toNanos();
    whileAsleep.run();
  }

  /** Runs at each sleep. */
  public void whileAsleep(Runnable action) {
    whileAsleep = action;
  }

  public Duration passed() {
    return Duration.ofNanos(nanos);
  }
}
