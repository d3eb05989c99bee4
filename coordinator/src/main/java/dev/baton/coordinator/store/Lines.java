package dev.baton.coordinator.store;

import java.util.List;

/** A few words in one column, a line each. */
final class Lines {
  private Lines() {}

  static List<String> split(String column) {
    return column.isEmpty() ? List.of() : List.of(column.split("\n", -1));
  }
}
