package dev.baton.deploy;

import static dev.baton.deploy.Namespaces.in;
import static dev.baton.deploy.Namespaces.ip;
import static dev.baton.deploy.Namespaces.must;

import java.io.IOException;
import java.util.List;

/**
 * A private network in network namespaces: hosts on one switch, whose cables can be pulled. Needs
 * root.
 */
final class PrivateNetwork implements NamespaceCluster.Network, AutoCloseable {
  /** The switch has an address too: the server's. */
  static final String SERVER = "10.78.0.1";

  private final Namespaces namespaces = new Namespaces();
  private final String server;

  PrivateNetwork(int hosts) throws IOException, InterruptedException {
    try {
      server = namespaces.add("server");
      ip("-n", server, "link", "add", "switch", "type", "bridge");
      ip("-n", server, "addr", "add", SERVER + "/24", "dev", "switch");
      ip("-n", server, "link", "set", "switch", "up");
      for (int host = 1; host <= hosts; host++) {
        connect(host);
      }
    } catch (IOException | InterruptedException e) {
      namespaces.close();
      throw e;
    }
  }

  private void connect(int host) throws IOException, InterruptedException {
    String there = namespaces.add(name(host));
    ip(
        "-n",
        server,
        "link",
        "add",
        port(host),
        "type",
        "veth",
        "peer",
        "name",
        "eth",
        "netns",
        there);
    ip("-n", server, "link", "set", port(host), "master", "switch", "up");
    ip("-n", there, "addr", "add", address(host) + "/24", "dev", "eth");
    ip("-n", there, "link", "set", "eth", "up");
  }

  static String name(int host) {
    return "host" + host;
  }

  static String address(int host) {
    return "10.78.0." + (10 + host);
  }

  private static String port(int host) {
    return "port" + host;
  }

  /** Places: server, and each host by its {@link #name}. */
  @Override
  public List<String> at(String place, List<String> command) {
    return namespaces.at(place, command);
  }

  /** From now on this host and all others that were cut so reach the server, but not each other. */
  void isolate(int host) throws IOException, InterruptedException {
    must(in(server, "bridge", "link", "set", "dev", port(host), "isolated", "on"));
  }

  /** From now on the host reaches nobody; no connection is closed. */
  void unplug(int host) throws IOException, InterruptedException {
    must(in(server, "bridge", "link", "set", "dev", port(host), "state", "0"));
  }

  /** Undoes {@link #unplug}. */
  void plug(int host) throws IOException, InterruptedException {
    must(in(server, "bridge", "link", "set", "dev", port(host), "state", "3"));
  }

  @Override
  public void close() throws IOException, InterruptedException {
    namespaces.close();
  }
}
