package dev.baton.worker.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PortRangeTest {
  @Test
  void readsFirstAndLast() {
    assertThat(PortRange.parse("29500-29510")).isEqualTo(new PortRange(29_500, 29_510));
    assertThat(PortRange.parse("1-65535")).isEqualTo(new PortRange(1, 65_535));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "29500", "a-b", "1-2-3", "29500:29510", "-1-5"})
  void saysWhatARangeLooksLike(String text) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> PortRange.parse(text))
        .withMessage("'%s'; expected FIRST-LAST, as in 29500-29510", text);
  }

  @ParameterizedTest
  @ValueSource(strings = {"0-5", "500-500", "600-500", "65000-65536"})
  void saysWhichPortsThereAre(String text) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> PortRange.parse(text))
        .withMessage("ports %s; expected two or more, from 1 to 65535", text);
  }
}
