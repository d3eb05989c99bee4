package dev.baton.rpc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class HostPortTest {
  @ParameterizedTest
  @ValueSource(strings = {"127.0.0.1:7070", "coordinator.example:1", "[::1]:65535", "localhost:0"})
  void readsWhatItWrites(String text) {
    assertThat(HostPort.parse(text)).hasToString(text);
  }

  @Test
  void bracketsDoNotBelongToTheHost() {
    assertThat(HostPort.parse("[::1]:80")).isEqualTo(new HostPort("::1", 80));
  }

  @ParameterizedTest
  @CsvSource({
    "localhost, the port is missing",
    ":80, the host is missing",
    "localhost:, '' is no port",
    "localhost:http, 'http' is no port",
    "localhost:-1, '-1' is no port",
    "localhost:65536, port 65536 is beyond 65535",
    "localhost:99999999999, '99999999999' is no port",
    "::1:80, an IPv6 address needs brackets",
    "http://localhost:80, a scheme does not belong here",
    "a b:80, 'a b' is no host",
  })
  void saysWhatIsWrong(String text, String why) {
    assertThatThrownBy(() -> HostPort.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("'" + text + "': " + why + "; expected HOST:PORT, as in 127.0.0.1:7070");
  }
}
