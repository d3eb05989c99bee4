package dev.baton.worker.config;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * TCP ports that this worker may listen on.
 *
 * @param first 0 with {@code last} 0: any
 * @param last from {@code first} on
 */
public record PortRange(int first, int last) {
  /** Whichever is free. */
  public static final PortRange ANY = new PortRange(0, 0);

  private static final Pattern FORM = Pattern.compile("(\\d{1,5})-(\\d{1,5})");
  private static final int MAX = 65_535;

  public PortRange {
    boolean any = first == 0 && last == 0;
    // One for the answer to probes, one for the store of a gang's rank 0.
    if (!any && (first < 1 || last > MAX || last <= first)) {
      throw new IllegalArgumentException(
          "ports " + first + "-" + last + "; expected two or more, from 1 to " + MAX);
    }
  }

  /**
   * Reads {@code FIRST-LAST}.
   *
   * @throws IllegalArgumentException that says what would be right
   */
  public static PortRange parse(String text) {
    Matcher matcher = FORM.matcher(text);
    if (!matcher.matches()) {
      throw new IllegalArgumentException("'" + text + "'; expected FIRST-LAST, as in 29500-29510");
    }
    return new PortRange(Integer.parseInt(matcher.group(1)), Integer.parseInt(matcher.group(2)));
  }
}
