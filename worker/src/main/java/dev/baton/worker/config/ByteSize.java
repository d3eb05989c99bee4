package dev.baton.worker.config;

import dev.baton.quantity.Quantities;

/** An option that is a number of bytes. */
public final class ByteSize {
  private ByteSize() {}

  /**
   * Reads a size.
   *
   * @throws IllegalArgumentException in one line that says what would be right
   */
  public static long parse(String text) {
    return Quantities.bytes(text)
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "'" + text + "' is no size; expected a whole number of bytes: 20Gi, 1500M"));
  }
}
