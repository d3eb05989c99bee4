package dev.baton.quantity;

import java.math.BigDecimal;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Numbers with a unit: 30s, 10m, 1h30m; 512Mi, 2Gi, 1500M. */
public final class Quantities {
  private static final Pattern DURATION_PART =
      Pattern.compile("(\\d{1,12}(?:\\.\\d{1,9})?)(ms|s|m|h|d)");
  private static final Map<String, Long> NANOS =
      Map.of(
          "ms", 1_000_000L,
          "s", 1_000_000_000L,
          "m", 60_000_000_000L,
          "h", 3_600_000_000_000L,
          "d", 86_400_000_000_000L);
  private static final Pattern BYTES =
      Pattern.compile("(\\d{1,19}(?:\\.\\d{1,9})?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P|)");
  private static final Map<String, Long> BYTE_UNITS =
      Map.ofEntries(
          Map.entry("", 1L),
          Map.entry("k", 1_000L),
          Map.entry("M", 1_000_000L),
          Map.entry("G", 1_000_000_000L),
          Map.entry("T", 1_000_000_000_000L),
          Map.entry("P", 1_000_000_000_000_000L),
          Map.entry("Ki", 1L << 10),
          Map.entry("Mi", 1L << 20),
          Map.entry("Gi", 1L << 30),
          Map.entry("Ti", 1L << 40),
          Map.entry("Pi", 1L << 50));

  private Quantities() {}

  /** 30s, 10m, 1h30m, 250ms, 30d; empty for anything else, or more than 292 years. */
  public static Optional<Duration> duration(String text) {
    Matcher part = DURATION_PART.matcher(text);
    BigDecimal nanos = BigDecimal.ZERO;
    int end = 0;
    while (part.lookingAt()) {
      nanos = nanos.add(times(part.group(1), NANOS.get(part.group(2))));
      end = part.end();
      part.region(end, text.length());
    }
    if (end == 0 || end != text.length()) {
      return Optional.empty();
    }
    try {
      return Optional.of(Duration.ofNanos(nanos.longValueExact()));
    } catch (ArithmeticException e) {
      return Optional.empty();
    }
  }

  /**
   * Bytes as Kubernetes writes them; empty for anything else, or what is no whole number of 64
   * bits.
   */
  public static Optional<Long> bytes(String text) {
    Matcher matcher = BYTES.matcher(text);
    if (!matcher.matches()) {
      return Optional.empty();
    }
    try {
      return Optional.of(
          times(matcher.group(1), BYTE_UNITS.get(matcher.group(2))).longValueExact());
    } catch (ArithmeticException e) {
      return Optional.empty();
    }
  }

  private static BigDecimal times(String number, @Nullable Long unit) {
    return new BigDecimal(number).multiply(BigDecimal.valueOf(Objects.requireNonNull(unit)));
  }
}
