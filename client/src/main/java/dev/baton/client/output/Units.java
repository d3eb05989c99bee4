package dev.baton.client.output;

import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/** Numbers as people read them. */
public final class Units {
  private static final String[] BYTE_UNITS = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};

  private Units() {}

  /** 0 B, 512 B, 1.5 KiB, 52.4 MiB. */
  public static String bytes(long bytes) {
    double value = bytes;
    int unit = 0;
    while (value >= 1024 && unit < BYTE_UNITS.length - 1) {
      value /= 1024;
      unit++;
    }
    return unit == 0
        ? bytes + " B"
        : String.format(Locale.ROOT, "%.1f %s", value, BYTE_UNITS[unit]);
  }

  /** 3s, 2m05s, 1h02m, 3d4h. */
  public static String duration(double seconds) {
    if (!(seconds > 0)) {
      return "0s";
    }
    if (seconds >= 1e10) {
      return "forever";
    }
    long s = Math.round(seconds);
    if (s < 60) {
      return s + "s";
    }
    if (s < 3600) {
      return String.format(Locale.ROOT, "%dm%02ds", s / 60, s % 60);
    }
    if (s < 86_400) {
      return String.format(Locale.ROOT, "%dh%02dm", s / 3600, s / 60 % 60);
    }
    return s / 86_400 + "d" + s / 3600 % 24 + "h";
  }

  /** How long ago that was; - where there is no such time. */
  public static String age(long timeMs, long nowMs) {
    return timeMs == 0 ? "-" : duration((nowMs - timeMs) / 1000.0);
  }

  /** 2026-01-31 12:34:56Z; - where there is no such time. */
  public static String time(long timeMs) {
    String iso = isoTime(timeMs);
    return iso == null ? "-" : iso.substring(0, 19).replace('T', ' ') + "Z";
  }

  /** 2026-01-31T12:34:56.789Z, as in JSON; null where there is no such time (0). */
  public static @Nullable String isoTime(long timeMs) {
    if (timeMs == 0) {
      return null;
    }
    String iso = Instant.ofEpochMilli(timeMs).truncatedTo(ChronoUnit.SECONDS).toString();
    return iso.substring(0, iso.length() - 1)
        + String.format(Locale.ROOT, ".%03dZ", Math.floorMod(timeMs, 1000L));
  }

  /** Four significant digits or so. */
  public static String number(double value) {
    double size = Math.abs(value);
    if (value == Math.rint(value) && size < 1e6) {
      return String.format(Locale.ROOT, "%.0f", value);
    }
    if (size >= 1e6 || size < 1e-3) {
      return String.format(Locale.ROOT, "%.4g", value);
    }
    return String.format(Locale.ROOT, size >= 100 ? "%.1f" : "%.4f", value);
  }
}
