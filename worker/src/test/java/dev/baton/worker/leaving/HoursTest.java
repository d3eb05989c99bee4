package dev.baton.worker.leaving;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.LocalTime;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class HoursTest {

  @ParameterizedTest
  @CsvSource({
    "22:00-07:00, 22:00, true",
    "22:00-07:00, 21:59:59, false",
    "22:00-07:00, 00:00, true",
    "22:00-07:00, 06:59:59, true",
    "22:00-07:00, 07:00, false",
    "09:00-17:30, 09:00, true",
    "09:00-17:30, 17:30, false",
    "09:00-17:30, 00:00, false",
    "20:00-24:00, 23:59:59, true",
    "20:00-24:00, 00:00, false",
    "00:00-24:00, 00:00, false",
    "'12:00-13:00, 22:00-07:00', 12:30, true",
    "'12:00-13:00, 22:00-07:00', 13:00, false",
    "'12:00-13:00, 22:00-07:00', 23:00, true",
    "12:00:10-12:00:20, 12:00:15, true",
  })
  void knowsTheHours(String hours, LocalTime time, boolean expected) {
    if (hours.equals("00:00-24:00")) {
      assertThatThrownBy(() -> Hours.parse(hours)).hasMessageContaining("begins where it ends");
    } else {
      assertThat(Hours.parse(hours).contains(time)).isEqualTo(expected);
    }
  }

  @Test
  void allHoursAreTheUsual() {
    assertThat(Hours.ALL.contains(LocalTime.MIDNIGHT)).isTrue();
    assertThat(Hours.ALL.contains(LocalTime.NOON)).isTrue();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"", "22:00", "22-7", "22:00-7:00", "25:00-26:00", "1:00-2:00,", "08:00-08:00"})
  void refusesTheRest(String text) {
    assertThatThrownBy(() -> Hours.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("'" + text + "': ")
        .hasMessageContaining("expected ranges as in 22:00-07:00");
  }
}
