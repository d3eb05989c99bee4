package dev.baton.rpc;

/**
 * Where a server listens.
 *
 * @param host a name or address; an IPv6 address without brackets
 * @param port 0 to 65535; 0 asks a listener for any free one
 */
public record HostPort(String host, int port) {

  /**
   * Reads {@code HOST:PORT}; an IPv6 address stands in brackets.
   *
   * @throws IllegalArgumentException with a message that says what is wrong and what would be right
   */
  public static HostPort parse(String text) {
    int colon = text.lastIndexOf(':');
    if (colon < 0) {
      throw wrong(text, "the port is missing");
    }
    String host = text.substring(0, colon);
    if (host.startsWith("[") && host.endsWith("]")) {
      host = host.substring(1, host.length() - 1);
    } else if (host.indexOf(':') >= 0) {
      throw wrong(
          text,
          host.contains("//") ? "a scheme does not belong here" : "an IPv6 address needs brackets");
    }
    if (host.isEmpty() || host.chars().anyMatch(c -> c <= ' ' || c == '/' || c == '@')) {
      throw wrong(text, host.isEmpty() ? "the host is missing" : "'" + host + "' is no host");
    }
    String digits = text.substring(colon + 1);
    if (digits.isEmpty()
        || digits.length() > 5
        || !digits.chars().allMatch(c -> c >= '0' && c <= '9')) {
      throw wrong(text, "'" + digits + "' is no port");
    }
    int port = Integer.parseInt(digits);
    if (port > 65535) {
      throw wrong(text, "port " + port + " is beyond 65535");
    }
    return new HostPort(host, port);
  }

  private static IllegalArgumentException wrong(String text, String why) {
    return new IllegalArgumentException(
        "'" + text + "': " + why + "; expected HOST:PORT, as in 127.0.0.1:7070");
  }

  /** As {@link #parse} reads it. */
  @Override
  public String toString() {
    return (host.indexOf(':') >= 0 ? "[" + host + "]" : host) + ":" + port;
  }
}
