package dev.baton.rpc;

import io.grpc.HttpConnectProxiedSocketAddress;
import io.grpc.ProxyDetector;
import java.io.IOException;
import java.net.Authenticator;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.PasswordAuthentication;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.SocketAddress;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The proxies that the environment names, for gRPC and for transfers alike. As curl has it: {@code
 * https_proxy}, else {@code all_proxy}, for what is encrypted; {@code http_proxy}, else {@code
 * all_proxy}, for what is not; {@code no_proxy} lists hosts, domains, addresses and networks that
 * are reached directly, and {@code *} stands for all. Capital letters do as well. Other than curl,
 * this machine itself is never reached through a proxy, which could not find the way back.
 */
public final class Proxies {
  static {
    // Else the JDK's client names no password to a proxy that is to open a tunnel. What it protects
    // is a password in the clear, which the variable's author has chosen.
    if (System.getProperty("jdk.http.auth.tunneling.disabledSchemes") == null) {
      System.setProperty("jdk.http.auth.tunneling.disabledSchemes", "");
    }
  }

  /** Everything is reached directly. */
  public static final Proxies NONE = new Proxies(Map.of());

  private static final int DEFAULT_PORT = 1080;

  private final Map<String, String> environment;

  private Proxies(Map<String, String> environment) {
    this.environment = environment;
  }

  /** Those of an environment. Its values are looked at when one is needed. */
  public static Proxies of(Map<String, String> environment) {
    return new Proxies(Map.copyOf(environment));
  }

  /**
   * A proxy that speaks HTTP.
   *
   * @param user empty where it wants none
   */
  record HttpProxy(String host, int port, String user, String password) {
    /** Without the password. */
    @Override
    public String toString() {
      return host + ":" + port;
    }
  }

  /**
   * The proxy on the way to a server, if there is one.
   *
   * @param tls whether the connection is encrypted
   * @throws IllegalArgumentException where the variable makes no sense: it is named
   */
  Optional<HttpProxy> proxyFor(boolean tls, String host) {
    String bare = bare(host);
    if (Access.isLoopback(bare)) {
      return Optional.empty();
    }
    for (String name : List.of(tls ? "https_proxy" : "http_proxy", "all_proxy")) {
      for (String variable : List.of(name, name.toUpperCase(Locale.ROOT))) {
        String value = environment.getOrDefault(variable, "").strip();
        if (!value.isEmpty()) {
          return exempt(bare) ? Optional.empty() : Optional.of(parse(variable, value));
        }
      }
    }
    return Optional.empty();
  }

  /**
   * HOST:PORT of the proxy on the way to a server, if there is one.
   *
   * @throws IllegalArgumentException where the variable makes no sense: it is named
   */
  public Optional<String> nameOf(boolean tls, String host) {
    return proxyFor(tls, host).map(HttpProxy::toString);
  }

  private static HttpProxy parse(String variable, String value) {
    URI uri;
    try {
      uri = new URI(value.contains("://") ? value : "http://" + value);
    } catch (URISyntaxException e) {
      throw wrong(variable, e);
    }
    if (!"http".equalsIgnoreCase(uri.getScheme()) || uri.getHost() == null) {
      throw wrong(variable, null);
    }
    String login = uri.getUserInfo() == null ? "" : uri.getUserInfo();
    int colon = login.indexOf(':');
    return new HttpProxy(
        bare(uri.getHost()),
        uri.getPort() < 0 ? DEFAULT_PORT : uri.getPort(),
        colon < 0 ? login : login.substring(0, colon),
        colon < 0 ? "" : login.substring(colon + 1));
  }

  // Not the value, which may hold a password.
  private static IllegalArgumentException wrong(String variable, @Nullable Exception cause) {
    return new IllegalArgumentException(
        variable + " names no proxy of a known kind; expected http://[USER:PASSWORD@]HOST:PORT",
        cause);
  }

  private boolean exempt(String host) {
    String list = environment.getOrDefault("no_proxy", environment.getOrDefault("NO_PROXY", ""));
    for (String entry : list.toLowerCase(Locale.ROOT).split("[,\\s]+", -1)) {
      if (!entry.isEmpty() && (entry.equals("*") || covers(entry, host.toLowerCase(Locale.ROOT)))) {
        return true;
      }
    }
    return false;
  }

  private static boolean covers(String entry, String host) {
    @Nullable InetAddress address = Access.literal(host);
    if (address != null) {
      int slash = entry.indexOf('/');
      @Nullable InetAddress network =
          Access.literal(bare(slash < 0 ? entry : entry.substring(0, slash)));
      return network != null
          && samePrefix(
              address.getAddress(),
              network.getAddress(),
              slash < 0 ? "" : entry.substring(slash + 1));
    }
    String domain = entry.replaceFirst("^\\*?\\.", "");
    return host.equals(domain) || host.endsWith("." + domain);
  }

  private static boolean samePrefix(byte[] a, byte[] b, String prefix) {
    int bits = prefix.matches("\\d{1,3}") ? Integer.parseInt(prefix) : a.length * 8;
    if (a.length != b.length || bits > a.length * 8) {
      return false;
    }
    for (int i = 0; i < bits; i++) {
      int mask = 0x80 >> (i % 8);
      if ((a[i / 8] & mask) != (b[i / 8] & mask)) {
        return false;
      }
    }
    return true;
  }

  private static String bare(String host) {
    return host.startsWith("[") && host.endsWith("]") ? host.substring(1, host.length() - 1) : host;
  }

  /** For a channel: whatever goes through a proxy goes through a tunnel (CONNECT). */
  ProxyDetector detector(boolean tls) {
    return target -> {
      if (!(target instanceof InetSocketAddress address)) {
        return null;
      }
      @Nullable HttpProxy proxy = proxyFor(tls, address.getHostString()).orElse(null);
      if (proxy == null) {
        return null;
      }
      InetAddress at;
      try {
        at = InetAddress.getByName(proxy.host());
      } catch (UnknownHostException e) {
        throw new IOException("the proxy's host " + proxy.host() + " is unknown", e);
      }
      HttpConnectProxiedSocketAddress.Builder tunnel =
          HttpConnectProxiedSocketAddress.newBuilder()
              .setTargetAddress(address)
              .setProxyAddress(new InetSocketAddress(at, proxy.port()));
      if (!proxy.user().isEmpty()) {
        tunnel.setUsername(proxy.user()).setPassword(proxy.password());
      }
      return tunnel.build();
    };
  }

  /** For the JDK's client. */
  public ProxySelector selector() {
    return new ProxySelector() {
      @Override
      public List<Proxy> select(URI uri) {
        List<Proxy> proxies = new ArrayList<>();
        proxyFor("https".equalsIgnoreCase(uri.getScheme()), String.valueOf(uri.getHost()))
            .ifPresent(
                proxy ->
                    proxies.add(
                        new Proxy(
                            Proxy.Type.HTTP,
                            InetSocketAddress.createUnresolved(proxy.host(), proxy.port()))));
        return proxies.isEmpty() ? List.of(Proxy.NO_PROXY) : proxies;
      }

      @Override
      public void connectFailed(URI uri, SocketAddress address, IOException e) {
        // The call that wanted the connection fails with it.
      }
    };
  }

  /**
   * Names user and password to the proxies that have one in the environment, and to nobody else.
   */
  public Authenticator authenticator() {
    return new Authenticator() {
      @Override
      protected @Nullable PasswordAuthentication getPasswordAuthentication() {
        if (getRequestorType() != RequestorType.PROXY || getRequestingURL() == null) {
          return null;
        }
        boolean tls = "https".equalsIgnoreCase(getRequestingURL().getProtocol());
        return proxyFor(tls, getRequestingURL().getHost())
            .filter(proxy -> !proxy.user().isEmpty())
            .map(proxy -> new PasswordAuthentication(proxy.user(), proxy.password().toCharArray()))
            .orElse(null);
      }
    };
  }
}
