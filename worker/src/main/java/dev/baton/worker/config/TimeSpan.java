package dev.baton.worker.config;

import java.time.Duration;
import java.util.Locale;
import java.util.regex.Pattern;

/** Spans of time: 11h30m, 20m, 90s. */
public final class TimeSpan {
  private static final Pattern FORM =
      Pattern.compile("(?=\\d)(\\d{1,6}h)?(\\d{1,6}m)?(\\d{1,9}s)?");

  private TimeSpan() {}

  /**
   * Reads a span of more than no time.
   *
   * @throws IllegalArgumentException in one line that says what would be right
   */
  public static Duration parse(String text) {
    Duration span =
        FORM.matcher(text).matches()
            ? Duration.parse("PT" + text.toUpperCase(Locale.ROOT))
            : Duration.ZERO;
    if (span.isZero()) {
      throw new IllegalArgumentException(
          "'" + text + "' is no span of time; expected one as in 11h30m, 20m, 90s");
    }
    return span;
  }
}
