package dev.baton.worker.leaving;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.time.Instant;
import java.time.ZonedDateTime;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class EndOfLifeTest {
  private static final ZonedDateTime NOW =
      ZonedDateTime.parse("2026-03-28T22:00:00+01:00[Europe/Berlin]");

  @ParameterizedTest
  @CsvSource({
    "23:15, 2026-03-28T22:15:00Z",
    // Tomorrow, after summer time has begun.
    "07:30, 2026-03-29T05:30:00Z",
    "22:00, 2026-03-29T20:00:00Z",
    "22:00:05, 2026-03-28T21:00:05Z",
    "2026-03-29T07:30, 2026-03-29T05:30:00Z",
    "2026-03-29T07:30Z, 2026-03-29T07:30:00Z",
    "2026-03-29T07:30:00+05:30, 2026-03-29T02:00:00Z",
    "2026-03-29T07:30-02:00, 2026-03-29T09:30:00Z",
  })
  void readsTimes(String text, Instant expected) {
    assertThat(EndOfLife.at(text, NOW).at()).isEqualTo(expected);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "7:30", "24:30", "soon", "2026-03-29", "2026-13-01T00:00", "11h"})
  void refusesTheRest(String text) {
    assertThatThrownBy(() -> EndOfLife.at(text, NOW))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("'" + text + "' is no time; expected one as in 07:30");
  }

  @Test
  void refusesWhatIsOver() {
    assertThatThrownBy(() -> EndOfLife.at("2026-03-28T21:59", NOW))
        .hasMessageStartingWith("'2026-03-28T21:59' is over; it is 2026-03-28T22:00+01:00");
  }

  @Test
  void theMarginGrowsWithTheLastUpload() {
    EndOfLife end = new EndOfLife(Instant.ofEpochSecond(10_000));
    assertThat(end.leaveAt(Duration.ZERO)).isEqualTo(Instant.ofEpochSecond(9_985));
    assertThat(end.leaveAt(Duration.ofSeconds(1))).isEqualTo(Instant.ofEpochSecond(9_985));
    assertThat(end.leaveAt(Duration.ofSeconds(20))).isEqualTo(Instant.ofEpochSecond(9_930));
    assertThat(end.lastOfferAt(Duration.ofSeconds(20))).isEqualTo(Instant.ofEpochSecond(9_925));
  }
}
