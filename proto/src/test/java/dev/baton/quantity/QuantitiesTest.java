package dev.baton.quantity;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class QuantitiesTest {
  @ParameterizedTest
  @CsvSource({
    "30s, PT30S",
    "10m, PT10M",
    "1h, PT1H",
    "1h30m, PT1H30M",
    "250ms, PT0.25S",
    "30d, PT720H",
    "0s, PT0S",
    "1.5s, PT1.5S",
    "0.5h, PT30M"
  })
  void durations(String text, Duration expected) {
    assertThat(Quantities.duration(text)).contains(expected);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"", "30", "s", "-5s", "30 s", "1h30", "30S", "0.0000000001s", "999999999999d"})
  void whatIsNoDuration(String text) {
    assertThat(Quantities.duration(text)).isEmpty();
  }

  @ParameterizedTest
  @CsvSource({
    "512Mi, 536870912",
    "2Gi, 2147483648",
    "1500M, 1500000000",
    "1073741824, 1073741824",
    "1.5Ki, 1536",
    "3k, 3000",
    "0, 0"
  })
  void bytes(String text, long expected) {
    assertThat(Quantities.bytes(text)).contains(expected);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "Gi", "2GB", "2gi", "-1", "1.5", "0.3Ki", "9999999999999999999"})
  void whatIsNoAmountOfBytes(String text) {
    assertThat(Quantities.bytes(text)).isEmpty();
  }

  @Test
  void theLargestAmountThatFits() {
    assertThat(Quantities.bytes("9223372036854775807")).contains(Long.MAX_VALUE);
    assertThat(Quantities.bytes("9223372036854775808")).isEmpty();
  }
}
