package dev.baton.worker.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ByteSizeTest {

  @Test
  void readsWhatKubernetesWrites() {
    assertThat(ByteSize.parse("1073741824")).isEqualTo(1L << 30);
    assertThat(ByteSize.parse("20Gi")).isEqualTo(20L << 30);
    assertThat(ByteSize.parse("512Mi")).isEqualTo(512L << 20);
    assertThat(ByteSize.parse("4Ki")).isEqualTo(4096);
    assertThat(ByteSize.parse("1500M")).isEqualTo(1_500_000_000L);
    assertThat(ByteSize.parse("1.5Gi")).isEqualTo(3L << 29);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "Gi", "-1", "1 Gi", "1gb", "1i", "999999999999999999Pi", "0.5"})
  void refusesTheRest(String text) {
    assertThatThrownBy(() -> ByteSize.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("'" + text + "'");
  }
}
