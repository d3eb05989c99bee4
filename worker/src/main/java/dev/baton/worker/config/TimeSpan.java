package dev.baton.worker.config;

import dev.baton.quantity.Quantities;
import java.time.Duration;

/** An option that is a span of time. */
public final class TimeSpan {
  private TimeSpan() {}

  /**
   * Reads a span of more than no time.
   *
   * @throws IllegalArgumentException in one line that says what would be right
   */
  public static Duration parse(String text) {
    return Quantities.duration(text)
        .filter(span -> !span.isZero())
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "'" + text + "' is no span of time; expected one as in 11h30m, 20m, 90s"));
  }
}
