package dev.baton.transfer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class BandwidthTest {
  private static final long MILLI = 1_000_000L;

  // Close to where a monotonic clock may overflow.
  private long nanos = Long.MAX_VALUE - 200 * MILLI;
  private final Bandwidth megabyte = Bandwidth.of(8_000_000, () -> nanos);

  @Test
  void whatMovesIsPaidForInTime() {
    // A twentieth of a second is free.
    assertThat(megabyte.moved(50_000)).isZero();
    assertThat(megabyte.moved(10_000)).isEqualTo(10 * MILLI);
    nanos += 4 * MILLI;
    assertThat(megabyte.moved(0)).isEqualTo(6 * MILLI);
    assertThat(megabyte.moved(500_000)).isEqualTo(506 * MILLI);
    nanos += 600 * MILLI;
    // Silence saves up no more than the burst.
    nanos += 3_600_000 * MILLI;
    assertThat(megabyte.moved(51_000)).isEqualTo(MILLI);
  }

  @Test
  void theRateHoldsOverTime() {
    long start = nanos;
    long bytes = 0;
    while (nanos - start < 10_000 * MILLI) {
      nanos += megabyte.moved(16_384);
      bytes += 16_384;
    }
    assertThat(bytes).isBetween(10_000_000L, 10_100_000L);
  }

  @Test
  void withoutALimitNothingWaits() {
    assertThat(Bandwidth.UNLIMITED.moved(Long.MAX_VALUE)).isZero();
  }

  @Test
  void readsBitsPerSecond() {
    assertThat(Bandwidth.parse("20Mbit")).hasToString("20000000 bit/s");
    assertThat(Bandwidth.parse("1.5Gbit")).hasToString("1500000000 bit/s");
    assertThat(Bandwidth.parse("100kbit")).hasToString("100000 bit/s");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"", "20", "20M", "20MB", "20Mbit/s", "-1Mbit", "99kbit", "2000Gbit", "0kbit"})
  void refusesTheRest(String text) {
    assertThatThrownBy(() -> Bandwidth.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("'" + text + "'")
        .hasMessageContaining("expected");
  }
}
