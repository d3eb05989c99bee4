package dev.baton.rpc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;

class TokenTextTest {
  private static final String SECRET = "baton_0a1b2c3d_x-Y_z";
  private static final String KEY = "A".repeat(42) + "E";

  @Test
  void theWholeTextNamesSecretPinAndAddress() {
    for (String pin : new String[] {KEY, "ca", "plain"}) {
      for (String address : new String[] {"127.0.0.1:7070", "a.b-c.example:1", "[fe80::1]:65535"}) {
        String text = SECRET + "." + pin + "." + address;
        TokenText token = TokenText.parse("  " + text + "\n");
        assertThat(token.secret()).isEqualTo(SECRET);
        assertThat(token.coordinator())
            .contains(new TokenText.Origin(new Pin(pin), HostPort.parse(address)));
        assertThat(token.text()).isEqualTo(text);
        assertThat(token.toString()).doesNotContain(SECRET);
      }
    }
    assertThat(TokenText.parse(SECRET)).isEqualTo(new TokenText(SECRET, Optional.empty()));
  }

  @Test
  void aDamagedTextSaysWhatIsWrongAndKeepsTheSecret() {
    String[] damaged = {
      SECRET + ".",
      SECRET + "." + KEY,
      SECRET + "." + KEY + ".",
      SECRET + "." + KEY + ".host",
      SECRET + "." + KEY.substring(1) + ".host:1",
      SECRET + "." + "A".repeat(43) + "A.host:1",
      SECRET + "." + "A".repeat(42) + "B.host:1",
      SECRET + ".CA.host:1",
      SECRET + "." + KEY + ".host:99999",
      SECRET + "." + KEY + ".$(touch):1",
      SECRET + "." + KEY + ".a'b:1",
      "." + KEY + ".host:1",
    };
    for (String text : damaged) {
      assertThatThrownBy(() -> TokenText.parse(text))
          .as(text)
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("damaged")
          .message()
          .doesNotContain(SECRET);
    }
    assertThatThrownBy(() -> TokenText.parse(" \n")).hasMessage("the token is empty");
    assertThatThrownBy(() -> TokenText.parse("a b")).hasMessageContaining("a blank");
  }

  @Test
  void whateverIsPutInIsReadAsItWasOrRefused() {
    Random random = new Random(1);
    String whole = SECRET + "." + KEY + ".host.example:7070";
    String alphabet = "ab_-.:[]019/'$ \u00e4\n";
    int read = 0;
    for (int i = 0; i < 20_000; i++) {
      StringBuilder text = new StringBuilder(whole);
      for (int edits = random.nextInt(6); edits >= 0 && text.length() > 0; edits--) {
        int at = random.nextInt(text.length());
        switch (random.nextInt(3)) {
          case 0 -> text.setLength(at);
          case 1 -> text.deleteCharAt(at);
          default -> text.insert(at, alphabet.charAt(random.nextInt(alphabet.length())));
        }
      }
      TokenText token;
      try {
        token = TokenText.parse(text.toString());
      } catch (IllegalArgumentException e) {
        assertThat(e.getMessage()).doesNotContain("\n").doesNotContain(SECRET);
        continue;
      }
      read++;
      assertThat(TokenText.parse(token.text())).as(text.toString()).isEqualTo(token);
      token
          .coordinator()
          .ifPresent(
              origin -> assertThat(origin.address().toString()).matches("[A-Za-z0-9._:%\\[\\]-]+"));
    }
    assertThat(read).isPositive();
  }

  @Test
  void aTokenAndAnAddressMakeAnAccess() {
    TokenText whole = TokenText.parse(SECRET + "." + KEY + ".far.example:7070");
    assertThat(Access.of(whole, Optional.empty(), false))
        .isEqualTo(new Access(HostPort.parse("far.example:7070"), new Pin(KEY), SECRET));
    assertThat(Access.of(whole, Optional.of(HostPort.parse("near:1")), false))
        .isEqualTo(new Access(HostPort.parse("near:1"), new Pin(KEY), SECRET));

    TokenText plain = TokenText.parse(SECRET + ".plain.10.0.0.1:7070");
    for (String same : new String[] {"10.0.0.1:7070", "10.0.0.1:1", "localhost:1"}) {
      assertThat(Access.of(plain, Optional.of(HostPort.parse(same)), false).pin())
          .isEqualTo(Pin.PLAIN);
    }
    HostPort other = HostPort.parse("10.0.0.2:7070");
    assertThatThrownBy(() -> Access.of(plain, Optional.of(other), false))
        .hasMessageContaining("another machine");
    assertThat(Access.of(plain, Optional.of(other), true).pin()).isEqualTo(Pin.PLAIN);

    TokenText bare = TokenText.parse(SECRET);
    for (String here : new String[] {"127.0.0.1:1", "localhost:1", "[::1]:1", "127.8.8.8:1"}) {
      assertThat(Access.of(bare, Optional.of(HostPort.parse(here)), false).pin())
          .isEqualTo(Pin.PLAIN);
    }
    for (String there : new String[] {"10.0.0.1:1", "localhost.example:1", "127.0.0.1.nip.io:1"}) {
      HostPort address = HostPort.parse(there);
      assertThatThrownBy(() -> Access.of(bare, Optional.of(address), false))
          .hasMessageContaining("the whole token")
          .message()
          .doesNotContain(SECRET);
      assertThat(Access.of(bare, Optional.of(address), true).pin()).isEqualTo(Pin.PLAIN);
    }
    assertThatThrownBy(() -> Access.of(bare, Optional.empty(), true))
        .hasMessageContaining("--coordinator");
  }
}
