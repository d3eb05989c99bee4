package dev.baton.worker.leaving;

import java.time.LocalTime;
import java.time.format.DateTimeParseException;
import java.util.ArrayList;
import java.util.List;

/** The hours of each day in which a worker works; ranges may go over midnight. */
public final class Hours {
  /** All of them. */
  public static final Hours ALL = new Hours(List.of(), "00:00-24:00");

  private static final String MIDNIGHT = "24:00";

  // From the first moment to the last one before the end.
  private record Range(LocalTime from, LocalTime to) {
    boolean contains(LocalTime time) {
      boolean after = !time.isBefore(from);
      boolean before = time.isBefore(to);
      return from.isBefore(to) ? after && before : after || before;
    }
  }

  private final List<Range> ranges;
  private final String text;

  private Hours(List<Range> ranges, String text) {
    this.ranges = ranges;
    this.text = text;
  }

  /**
   * Reads ranges of local time: 22:00-07:00, or 12:00-13:00,22:00-07:00.
   *
   * @throws IllegalArgumentException in one line that says what would be right
   */
  public static Hours parse(String text) {
    List<Range> ranges = new ArrayList<>();
    for (String range : text.split(",", -1)) {
      String[] ends = range.strip().split("-", -1);
      if (ends.length != 2) {
        throw wrong(text, "'" + range + "' is no range");
      }
      LocalTime from = time(text, ends[0].strip());
      String last = ends[1].strip();
      LocalTime to = last.equals(MIDNIGHT) ? LocalTime.MIDNIGHT : time(text, last);
      if (from.equals(to)) {
        throw wrong(text, "'" + range + "' begins where it ends");
      }
      ranges.add(new Range(from, to));
    }
    return new Hours(ranges, text);
  }

  private static LocalTime time(String text, String time) {
    try {
      return LocalTime.parse(time);
    } catch (DateTimeParseException e) {
      throw wrong(text, "'" + time + "' is no time of day");
    }
  }

  private static IllegalArgumentException wrong(String text, String why) {
    return new IllegalArgumentException(
        "'"
            + text
            + "': "
            + why
            + "; expected ranges as in 22:00-07:00 or 12:00-13:00,22:00-07:00");
  }

  /** Whether this is a time to work. */
  public boolean contains(LocalTime time) {
    return ranges.isEmpty() || ranges.stream().anyMatch(range -> range.contains(time));
  }

  @Override
  public String toString() {
    return text;
  }
}
