package dev.baton.transfer;

import java.math.BigDecimal;
import java.util.Map;
import java.util.function.LongSupplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A limit on the bytes per second of all transfers that share it: a token bucket that may be
 * overdrawn by what one read brings, and is full after a twentieth of a second of silence. Any
 * number of threads may use it.
 */
public final class Bandwidth {
  /** No limit. */
  public static final Bandwidth UNLIMITED = new Bandwidth(0, () -> 0);

  /** The least limit: with less, a transfer that gets on looks like one that stalls. */
  private static final long LEAST_BITS = 100_000;

  private static final long MOST_BITS = 1_000_000_000_000L;
  private static final long BURST_NANOS = 50_000_000L;
  private static final double NANOS = 1e9;
  private static final Pattern FORM = Pattern.compile("(\\d{1,12}(?:\\.\\d{1,6})?)([kMG])bit");
  private static final Map<String, Long> UNITS =
      Map.of("k", 1_000L, "M", 1_000_000L, "G", 1_000_000_000L);

  private final long bitsPerSecond;
  private final LongSupplier nanoTime;
  // When what moved so far has been paid for.
  private long paidNanos;

  private Bandwidth(long bitsPerSecond, LongSupplier nanoTime) {
    this.bitsPerSecond = bitsPerSecond;
    this.nanoTime = nanoTime;
    this.paidNanos = nanoTime.getAsLong() - BURST_NANOS;
  }

  /**
   * A limit.
   *
   * @param nanoTime a monotonic clock
   */
  public static Bandwidth of(long bitsPerSecond, LongSupplier nanoTime) {
    return new Bandwidth(bitsPerSecond, nanoTime);
  }

  /**
   * Reads bits per second as links are sold: 500kbit, 20Mbit, 1Gbit.
   *
   * @throws IllegalArgumentException in one line that says what would be right
   */
  public static Bandwidth parse(String text) {
    Matcher matcher = FORM.matcher(text);
    Long unit = matcher.matches() ? UNITS.get(matcher.group(2)) : null;
    if (unit == null) {
      throw new IllegalArgumentException(
          "'" + text + "' is no bandwidth; expected bits per second, as in 500kbit, 20Mbit, 1Gbit");
    }
    BigDecimal bits = new BigDecimal(matcher.group(1)).multiply(BigDecimal.valueOf(unit));
    if (bits.compareTo(BigDecimal.valueOf(LEAST_BITS)) < 0
        || bits.compareTo(BigDecimal.valueOf(MOST_BITS)) > 0) {
      throw new IllegalArgumentException("'" + text + "': expected 100kbit to 1000Gbit");
    }
    return of(bits.longValue(), System::nanoTime);
  }

  /**
   * Takes note of bytes that moved.
   *
   * @return how long to wait before any more are moved, in nanoseconds; 0 for not at all
   */
  synchronized long moved(long bytes) {
    if (bitsPerSecond == 0) {
      return 0;
    }
    long now = nanoTime.getAsLong();
    if (now - paidNanos > BURST_NANOS) {
      paidNanos = now - BURST_NANOS;
    }
    paidNanos += (long) (bytes * Byte.SIZE * NANOS / bitsPerSecond);
    return Math.max(0, paidNanos - now);
  }

  @Override
  public String toString() {
    return bitsPerSecond == 0 ? "unlimited" : bitsPerSecond + " bit/s";
  }
}
