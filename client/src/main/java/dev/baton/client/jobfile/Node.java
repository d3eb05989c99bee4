package dev.baton.client.jobfile;

import java.util.List;
import java.util.Map;

/** A YAML value before anything is known of its type, with the place where it was written. */
sealed interface Node {
  Place place();

  /** What it is, for errors. */
  String described();

  /** Plain or quoted text; an empty plain one is YAML's null. */
  record Scalar(Place place, String text, boolean quoted) implements Node {
    private static final int SHOWN = 40;

    boolean isNull() {
      return !quoted
          && (text.isEmpty() || text.equals("~") || text.equals("null") || text.equals("Null"));
    }

    @Override
    public String described() {
      if (isNull()) {
        return "nothing";
      }
      String shown = text.length() <= SHOWN ? text : text.substring(0, SHOWN) + "...";
      return quoted ? "the quoted text \"" + shown + "\"" : shown;
    }
  }

  /** Keys in their order; a key's own place is kept for errors about the key. */
  record Mapping(Place place, Map<String, Entry> entries) implements Node {
    @Override
    public String described() {
      return "a mapping";
    }
  }

  /** A key's place, and its value. */
  record Entry(Place keyPlace, Node value) {}

  /** A list. */
  record Sequence(Place place, List<Node> items) implements Node {
    @Override
    public String described() {
      return "a list";
    }
  }
}
