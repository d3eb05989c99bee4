package dev.baton.rpc;

import java.util.Optional;
import java.util.regex.Pattern;

/**
 * A token as people copy it: {@code SECRET.PIN.HOST:PORT}, or the secret alone.
 *
 * @param secret {@code baton_ID_SECRET}, the one part that is ever sent, and that is hashed
 * @param coordinator who made it and where that is; empty where the text is the secret alone
 */
public record TokenText(String secret, Optional<Origin> coordinator) {
  // HostPort takes any name; this one stands in lines that go to a shell.
  private static final Pattern HOST = Pattern.compile("[A-Za-z0-9._:%-]+");

  /** The coordinator that made a token. */
  public record Origin(Pin pin, HostPort address) {
    /**
     * Checks the address.
     *
     * @throws IllegalArgumentException where a host has characters that no host has
     */
    public Origin {
      if (!isHost(address.host())) {
        throw new IllegalArgumentException("'" + address.host() + "' is no host");
      }
    }
  }

  /** Whether this is a name or an address, and nothing that means something to a shell. */
  public static boolean isHost(String text) {
    return HOST.matcher(text).matches();
  }

  /**
   * Reads a token; blanks around it do not count.
   *
   * @throws IllegalArgumentException with a message that says what is wrong, without the secret
   */
  public static TokenText parse(String text) {
    String token = text.strip();
    if (token.isEmpty()) {
      throw new IllegalArgumentException("the token is empty");
    }
    if (!token.chars().allMatch(c -> c > ' ' && c < 0x7f)) {
      throw new IllegalArgumentException(
          "the token holds a blank or a character beyond ASCII;"
              + " expected it as 'baton token create' printed it");
    }
    int dot = token.indexOf('.');
    if (dot < 0) {
      return new TokenText(token, Optional.empty());
    }
    int next = token.indexOf('.', dot + 1);
    if (dot == 0 || next < 0) {
      throw damaged("expected SECRET.PIN.HOST:PORT");
    }
    try {
      Origin origin =
          new Origin(
              new Pin(token.substring(dot + 1, next)), HostPort.parse(token.substring(next + 1)));
      return new TokenText(token.substring(0, dot), Optional.of(origin));
    } catch (IllegalArgumentException e) {
      throw damaged(String.valueOf(e.getMessage()));
    }
  }

  private static IllegalArgumentException damaged(String why) {
    return new IllegalArgumentException(
        "the token is damaged (" + why + "); copy it whole, as 'baton token create' printed it");
  }

  /** The whole text: {@link #parse} reads it. */
  public String text() {
    return coordinator
        .map(origin -> secret + "." + origin.pin() + "." + origin.address())
        .orElse(secret);
  }

  /** Without the secret, so that a log line may show it. */
  @Override
  public String toString() {
    return coordinator
        .map(origin -> "token for " + origin.pin() + " at " + origin.address())
        .orElse("token");
  }
}
