package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.invalid;

/** How a field of a job's spec is refused: its path, what it is, what it must be. */
final class SpecChecks {
  private SpecChecks() {}

  static void positive(String path, double value) {
    check(Double.isFinite(value) && value > 0, path, value, "above 0");
  }

  static void notNegative(String path, double value) {
    check(Double.isFinite(value) && value >= 0, path, value, "0 or more");
  }

  static void check(boolean right, String path, Object is, String wanted) {
    if (!right) {
      throw invalid(path + ": it is " + is + "; it must be " + wanted);
    }
  }

  static String quoted(String text) {
    String shown = text.length() <= 80 ? text : text.substring(0, 80) + "...";
    return shown.isEmpty() ? "empty" : "'" + shown.replaceAll("\\p{Cntrl}", "?") + "'";
  }
}
