package dev.baton.coordinator.store;

import java.util.List;

/** A few words in one column, a line each. */
final class Lines {
  private Lines() {}

  static String join(List<String> words) {
    return String.join("\n", words);
  }

  static List<String> split(String column) {
    return column.isEmpty() ? List.of() : List.of(column.split("\n", -1));
  }
}
