package dev.baton.client.output;

import java.util.regex.Pattern;

/** Text of others, made fit for a terminal: names and messages may hold what would steer it. */
final class Printable {
  private static final Pattern CONTROL = Pattern.compile("[\\x00-\\x1f\\x7f-\\x9f]");
  private static final Pattern CONTROL_IN_LINES =
      Pattern.compile("[\\x00-\\x1f\\x7f-\\x9f&&[^\n\t]]");

  private Printable() {}

  /** As {@link #line}, but for ends of lines and tabs. */
  static String lines(String text) {
    return CONTROL_IN_LINES.matcher(text).replaceAll("?");
  }

  /** One line, with a question mark for each control character. */
  static String line(String text) {
    return CONTROL.matcher(text).replaceAll("?");
  }
}
