package dev.baton.worker.leaving;

import java.time.Duration;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneId;
import java.time.ZonedDateTime;
import java.time.format.DateTimeParseException;
import java.time.temporal.ChronoUnit;

/**
 * The time at which the machine is known to go, or the worker's token to expire. The worker hands
 * its jobs over before it: by 10 s and three times what an upload of a checkpoint takes, since one
 * may have just begun, the last one comes after it, and links are not always as fast; by 15 s at
 * least. And in the 5 s before that it takes no more jobs, which could hardly make a step; a
 * machine that ends in 30 s still helps.
 *
 * @param at the end, in people's time: it comes when it comes, whether the machine was suspended or
 *     not
 */
public record EndOfLife(Instant at, Cause cause) {

  /** What ends. */
  public enum Cause {
    /** The machine's time. */
    MACHINE(ExitReason.END, "its machine ends at %s"),
    /** The token's. */
    TOKEN(
        ExitReason.REFUSED,
        "the token expires at %s; make a new one with 'baton token create --role worker'");

    private final ExitReason exit;
    private final String sentence;

    Cause(ExitReason exit, String sentence) {
      this.exit = exit;
      this.sentence = sentence;
    }

    /** Why a worker leaves then. */
    public ExitReason exit() {
      return exit;
    }
  }

  private static final Duration LEAST_MARGIN = Duration.ofSeconds(15);
  private static final Duration FIXED_MARGIN = Duration.ofSeconds(10);
  private static final int UPLOADS = 3;
  private static final Duration FIRST_STEPS = Duration.ofSeconds(5);

  /** The machine's end. */
  public EndOfLife(Instant at) {
    this(at, Cause.MACHINE);
  }

  /**
   * A token's end.
   *
   * @param leftMs how long it is valid from now on, in milliseconds
   */
  public static EndOfLife ofToken(Instant now, long leftMs) {
    return new EndOfLife(now.plusMillis(leftMs), Cause.TOKEN);
  }

  /**
   * Reads a time of day (the next one), a date and time in the worker's zone, or one that names its
   * offset: 07:30, 2026-03-01T07:30, 2026-03-01T06:30Z.
   *
   * @throws IllegalArgumentException in one line that says what would be right
   */
  public static EndOfLife at(String text, ZonedDateTime now) {
    EndOfLife end = new EndOfLife(instant(text, now));
    if (!end.at().isAfter(now.toInstant())) {
      throw new IllegalArgumentException("'" + text + "' is over; it is " + now);
    }
    return end;
  }

  private static Instant instant(String text, ZonedDateTime now) {
    try {
      if (text.indexOf('T') < 0) {
        ZonedDateTime today = now.with(LocalTime.parse(text));
        return (today.isAfter(now) ? today : now.plusDays(1).with(LocalTime.parse(text)))
            .toInstant();
      }
      boolean offset = text.endsWith("Z") || text.lastIndexOf('+') > 0 || text.matches(".*T.*-.*");
      return offset
          ? OffsetDateTime.parse(text).toInstant()
          : LocalDateTime.parse(text).atZone(now.getZone()).toInstant();
    } catch (DateTimeParseException e) {
      throw new IllegalArgumentException(
          "'"
              + text
              + "' is no time; expected one as in 07:30, 2026-03-01T07:30, 2026-03-01T06:30Z",
          e);
    }
  }

  /** One line for people, with the time as the clocks in their zone show it. */
  public String sentence(ZoneId zone) {
    return cause.sentence.formatted(
        at.atZone(zone).truncatedTo(ChronoUnit.SECONDS).toLocalDateTime());
  }

  /** When to hand over. */
  public Instant leaveAt(Duration upload) {
    Duration margin = FIXED_MARGIN.plus(upload.multipliedBy(UPLOADS));
    return at.minus(margin.compareTo(LEAST_MARGIN) < 0 ? LEAST_MARGIN : margin);
  }

  /** When to take the last job. */
  public Instant lastOfferAt(Duration upload) {
    return leaveAt(upload).minus(FIRST_STEPS);
  }
}
