package dev.baton.client.output;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A JSON object with its keys in the order they are put. */
public final class JsonObject {
  private final Map<String, @Nullable Object> entries = new LinkedHashMap<>();

  /** Adds a key; {@code value} may be null. */
  public JsonObject put(String key, @Nullable Object value) {
    entries.put(key, value);
    return this;
  }

  Map<String, @Nullable Object> entries() {
    return entries;
  }

  /** One line. */
  @Override
  public String toString() {
    return Json.write(this);
  }
}
