package dev.baton.coordinator.config;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Comparator;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;

/** A mapping of the file, which remembers the keys that were asked for: any other is a mistake. */
final class Section {
  private final String path;
  private final JsonNode node;
  private final TreeSet<String> known = new TreeSet<>();

  Section(String path, JsonNode node) {
    if (!node.isObject()) {
      throw new ConfigException(
          (path.isEmpty() ? "the file" : path) + ": must hold keys and values");
    }
    this.path = path;
    this.node = node;
  }

  String path(String key) {
    return path.isEmpty() ? key : path + "." + key;
  }

  Optional<Section> section(String key) {
    return get(key).map(child -> new Section(path(key), child));
  }

  Optional<String> value(String key) {
    return get(key)
        .map(
            child -> {
              if (!child.isValueNode()) {
                throw new ConfigException(path(key) + ": must be a single value");
              }
              return child.asText();
            });
  }

  private Optional<JsonNode> get(String key) {
    known.add(key);
    return Optional.ofNullable(node.get(key)).filter(child -> !child.isNull());
  }

  void refuseUnknownKeys() {
    for (Map.Entry<String, JsonNode> entry : node.properties()) {
      String key = entry.getKey();
      if (!known.contains(key)) {
        throw new ConfigException(
            path(key)
                + ": no such key; "
                + nearest(key)
                    .map(right -> "did you mean '" + right + "'?")
                    .orElse("there are " + String.join(", ", known)));
      }
    }
  }

  private Optional<String> nearest(String key) {
    return known.stream()
        .filter(right -> distance(key, right) <= Math.max(2, right.length() / 3))
        .min(Comparator.comparingInt(right -> distance(key, right)));
  }

  /** Levenshtein's. */
  private static int distance(String a, String b) {
    int[] row = new int[b.length() + 1];
    for (int j = 0; j <= b.length(); j++) {
      row[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int above = row[j];
        int replace = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        row[j] = Math.min(replace, 1 + Math.min(above, row[j - 1]));
        diagonal = above;
      }
    }
    return row[b.length()];
  }
}
