package dev.baton.rpc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.net.URI;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ProxiesTest {
  private static Map<String, String> environment(String... pairs) {
    Map<String, String> environment = new HashMap<>();
    for (int i = 0; i < pairs.length; i += 2) {
      environment.put(pairs[i], pairs[i + 1]);
    }
    return environment;
  }

  private static String chosen(boolean tls, String host, String... pairs) {
    return Proxies.of(environment(pairs))
        .proxyFor(tls, host)
        .map(proxy -> proxy.user() + "/" + proxy.password() + "@" + proxy)
        .orElse("direct");
  }

  @Test
  void theMoreSpecificVariableWins() {
    String[] all = {"all_proxy", "a:1", "https_proxy", "http://s:2", "HTTP_PROXY", "h:3"};
    assertThat(chosen(true, "far.example", all)).isEqualTo("/@s:2");
    assertThat(chosen(false, "far.example", all)).isEqualTo("/@h:3");
    assertThat(chosen(true, "far.example", "ALL_PROXY", "a:1", "http_proxy", "h:3"))
        .isEqualTo("/@a:1");
    assertThat(chosen(true, "far.example", "https_proxy", "l:1", "HTTPS_PROXY", "u:2"))
        .isEqualTo("/@l:1");
    assertThat(chosen(true, "far.example", "HTTPS_PROXY", "", "ALL_PROXY", "a:1"))
        .isEqualTo("/@a:1");
    assertThat(chosen(true, "far.example", "http_proxy", "h:3")).isEqualTo("direct");
    assertThat(chosen(true, "far.example")).isEqualTo("direct");
  }

  @Test
  void userAndPasswordArePercentDecoded() {
    assertThat(chosen(true, "x", "https_proxy", "http://me:a%40b%3A@proxy.example:3128/"))
        .isEqualTo("me/a@b:@proxy.example:3128");
    assertThat(chosen(true, "x", "https_proxy", "http://[fd00::1]")).isEqualTo("/@fd00::1:1080");
  }

  @Test
  void whatIsExemptIsReachedDirectly() {
    String[][] cases = {
      {"*", "far.example", "direct"},
      {"example", "far.example", "direct"},
      {".example", "far.example", "direct"},
      {"*.example", "far.example", "direct"},
      {"a, FAR.example ,b", "far.EXAMPLE", "direct"},
      {"ar.example", "far.example", "/@p:1"},
      {"far.example.org", "far.example", "/@p:1"},
      {"10.0.0.0/8", "10.200.3.4", "direct"},
      {"10.0.0.0/9", "10.200.3.4", "/@p:1"},
      {"10.200.3.4", "10.200.3.4", "direct"},
      {"10.200.3", "10.200.3.4", "/@p:1"},
      {"fd00::/16", "[fd00::9]", "direct"},
      {"fd00::/8,10.0.0.0/999", "10.0.0.1", "/@p:1"},
      {"", "10.0.0.1", "/@p:1"},
    };
    for (String[] each : cases) {
      assertThat(chosen(true, each[1], "HTTPS_PROXY", "p:1", "NO_PROXY", each[0]))
          .as(each[0] + " for " + each[1])
          .isEqualTo(each[2]);
    }
    for (String own : new String[] {"localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"}) {
      assertThat(chosen(true, own, "HTTPS_PROXY", "p:1")).as(own).isEqualTo("direct");
    }
  }

  @Test
  void aProxyOfAnotherKindIsRefusedByTheVariablesName() {
    for (String value :
        new String[] {"socks5://x:1", "https://x:1", "http://", "http://a b", "http://:secret@"}) {
      assertThatThrownBy(() -> chosen(true, "far.example", "ALL_PROXY", value))
          .as(value)
          .hasMessageContaining("ALL_PROXY")
          .message()
          .doesNotContain("secret");
    }
  }

  @Test
  void transfersGoTheSameWay() {
    Proxies proxies =
        Proxies.of(environment("https_proxy", "s:2", "http_proxy", "h:3", "no_proxy", "near"));
    assertThat(proxies.selector().select(URI.create("https://far:9/x")).toString())
        .contains("s", ":2");
    assertThat(proxies.selector().select(URI.create("http://far:9/x")).toString())
        .contains("h", ":3");
    assertThat(proxies.selector().select(URI.create("https://near:9/x")))
        .containsExactly(java.net.Proxy.NO_PROXY);
  }
}
