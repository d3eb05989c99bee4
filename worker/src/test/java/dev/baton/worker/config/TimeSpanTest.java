package dev.baton.worker.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TimeSpanTest {

  @Test
  void readsHoursMinutesSeconds() {
    assertThat(TimeSpan.parse("11h30m")).isEqualTo(Duration.ofMinutes(690));
    assertThat(TimeSpan.parse("20m")).isEqualTo(Duration.ofMinutes(20));
    assertThat(TimeSpan.parse("90s")).isEqualTo(Duration.ofSeconds(90));
    assertThat(TimeSpan.parse("1h1m1s")).isEqualTo(Duration.ofSeconds(3661));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "20", "h", "m20", "-5m", "0s", "12 h", "9999999h"})
  void refusesTheRest(String text) {
    assertThatThrownBy(() -> TimeSpan.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("'" + text + "' is no span of time; expected one as in 11h30m");
  }
}
