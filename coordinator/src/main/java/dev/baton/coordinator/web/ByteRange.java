package dev.baton.coordinator.web;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A part of a file, as one {@code Range} header asks for it (RFC 9110, section 14).
 *
 * @param first its first byte
 * @param length bytes; 0 where the range lies beyond the file's end (status 416)
 */
record ByteRange(long first, long length) {
  private static final Pattern ONE_RANGE = Pattern.compile("bytes=(\\d{0,18})-(\\d{0,18})");

  boolean isSatisfiable() {
    return length > 0;
  }

  /**
   * Reads a header's value.
   *
   * @param size the file's, in bytes
   * @return empty where the header is to be ignored: another unit, several ranges, not well formed
   */
  static Optional<ByteRange> parse(String header, long size) {
    Matcher m = ONE_RANGE.matcher(header.replace(" ", ""));
    if (!m.matches() || (m.group(1).isEmpty() && m.group(2).isEmpty())) {
      return Optional.empty();
    }
    if (m.group(1).isEmpty()) {
      long suffix = Math.min(size, Long.parseLong(m.group(2)));
      return Optional.of(new ByteRange(size - suffix, suffix));
    }
    long first = Long.parseLong(m.group(1));
    long last = m.group(2).isEmpty() ? Long.MAX_VALUE : Long.parseLong(m.group(2));
    if (last < first) {
      return Optional.empty();
    }
    return Optional.of(
        new ByteRange(first, first >= size ? 0 : Math.min(last, size - 1) - first + 1));
  }
}
