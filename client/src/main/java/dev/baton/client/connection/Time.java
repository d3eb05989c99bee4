package dev.baton.client.connection;

import java.time.Duration;

/** The clocks, and waiting by them. */
public interface Time {
  /** Monotonic. */
  long nanos();

  /** Since the epoch; for people. */
  long millis();

  void sleep(Duration duration) throws InterruptedException;
}
