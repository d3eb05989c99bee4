package dev.baton.coordinator.grpc;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.rpc.HostPort;
import dev.baton.rpc.Pin;
import java.util.Optional;
import org.junit.jupiter.api.Test;

final class PublishedTest {
  private static final HostPort ANYWHERE = new HostPort("0.0.0.0", 7070);
  private static final HostPort ANYWHERE_HTTP = new HostPort("0.0.0.0", 7071);

  private static String origin(Published published, String authority) {
    return published.origin(authority).address() + " " + published.httpUrl(authority);
  }

  @Test
  void whoComesFromElsewhereKnowsTheWay() {
    var published = new Published(Pin.CA, Optional.empty(), "10.0.0.5", ANYWHERE, ANYWHERE_HTTP);
    assertThat(origin(published, "train.example:17070"))
        .isEqualTo("train.example:17070 https://train.example:7071");
    assertThat(origin(published, "[fd00::1]:7070"))
        .isEqualTo("[fd00::1]:7070 https://[fd00::1]:7071");
  }

  @Test
  void whoComesOverLoopbackSendsOthersToTheMachinesAddress() {
    var published = new Published(Pin.CA, Optional.empty(), "10.0.0.5", ANYWHERE, ANYWHERE_HTTP);
    for (String here : new String[] {"127.0.0.1:7070", "localhost:7070", "", "bad;host:1"}) {
      assertThat(origin(published, here)).as(here).isEqualTo("10.0.0.5:7070 https://10.0.0.5:7071");
    }
    assertThat(published.own().address()).hasToString("10.0.0.5:7070");
  }

  @Test
  void theOperatorsWordCounts() {
    var published =
        new Published(
            Pin.PLAIN, Optional.of("train.example"), "train.example", ANYWHERE, ANYWHERE_HTTP);
    assertThat(origin(published, "10.9.9.9:17070"))
        .isEqualTo("train.example:7070 http://train.example:7071");
  }

  @Test
  void onLoopbackAloneItStaysThere() {
    var published =
        new Published(
            Pin.PLAIN,
            Optional.empty(),
            "127.0.0.1",
            new HostPort("127.0.0.1", 7070),
            new HostPort("127.0.0.1", 7071));
    assertThat(origin(published, "localhost:7070"))
        .isEqualTo("localhost:7070 http://localhost:7071");
    assertThat(published.own().address()).hasToString("127.0.0.1:7070");
  }

  @Test
  void noUrlIsNamedThatOthersCannotReach() {
    var published =
        new Published(
            Pin.CA, Optional.empty(), "10.0.0.5", ANYWHERE, new HostPort("127.0.0.1", 7071));
    assertThat(published.httpUrl("10.0.0.5:7070")).isEmpty();
  }
}
