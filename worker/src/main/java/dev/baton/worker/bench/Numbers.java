package dev.baton.worker.bench;

import java.math.BigDecimal;
import java.math.RoundingMode;

/** Numbers as benchmarks print them. */
final class Numbers {
  private Numbers() {}

  /** With so many digits behind the point; a text where it is not finite. */
  static Object rounded(double value, int digits) {
    return Double.isFinite(value)
        ? BigDecimal.valueOf(value).setScale(digits, RoundingMode.HALF_EVEN)
        : Double.toString(value);
  }
}
