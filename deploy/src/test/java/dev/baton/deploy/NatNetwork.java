package dev.baton.deploy;

import static dev.baton.deploy.Namespaces.in;
import static dev.baton.deploy.Namespaces.ip;
import static dev.baton.deploy.Namespaces.must;

import java.io.IOException;
import java.util.List;

/**
 * A small internet in network namespaces of this machine, none of which reaches beyond: a public
 * network with a server on it, and two homes, each behind a router that translates addresses. Where
 * there is no nft to do that, the server is given routes to the homes, and they have none to each
 * other. Needs root.
 */
final class NatNetwork implements NamespaceCluster.Network, AutoCloseable {
  /** The server's address; RFC 5737 gave the network to nobody. */
  static final String SERVER = "198.51.100.1";

  private final Namespaces namespaces = new Namespaces();
  private final boolean translated;

  NatNetwork() throws IOException, InterruptedException {
    translated = Namespaces.run(List.of("nft", "--version")).exit() == 0;
    try {
      String server = namespaces.add("server");
      ip("-n", server, "link", "add", "public", "type", "bridge");
      ip("-n", server, "addr", "add", SERVER + "/24", "dev", "public");
      ip("-n", server, "link", "set", "public", "up");
      for (int home : new int[] {1, 2}) {
        connect(server, home);
      }
    } catch (IOException | InterruptedException e) {
      close();
      throw e;
    }
  }

  private void connect(String server, int home) throws IOException, InterruptedException {
    String router = namespaces.add("router" + home);
    String worker = namespaces.add("home" + home);
    String network = "10.77." + home + ".";
    String outside = "198.51.100." + (10 + home);
    String port = "port" + home;
    ip("-n", server, "link", "add", port, "type", "veth", "peer", "name", "out", "netns", router);
    ip("-n", server, "link", "set", port, "master", "public", "up");
    ip("-n", router, "addr", "add", outside + "/24", "dev", "out");
    ip("-n", router, "link", "set", "out", "up");
    ip("-n", router, "link", "add", "in", "type", "veth", "peer", "name", "eth", "netns", worker);
    ip("-n", router, "addr", "add", network + "1/24", "dev", "in");
    ip("-n", router, "link", "set", "in", "up");
    ip("-n", worker, "addr", "add", network + "2/24", "dev", "eth");
    ip("-n", worker, "link", "set", "eth", "up");
    ip("-n", worker, "route", "add", "default", "via", network + "1");
    must(in(router, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"));
    if (translated) {
      must(in(router, "nft", "add", "table", "ip", "nat"));
      must(in(router, "nft", "add chain ip nat out { type nat hook postrouting priority 100 ; }"));
      must(in(router, "nft", "add rule ip nat out oifname out masquerade"));
    } else {
      ip("-n", server, "route", "add", network + "0/24", "via", outside);
    }
  }

  /** Whether addresses are translated; else there are routes from the server. */
  boolean translated() {
    return translated;
  }

  /** Places: server, home1 and home2. */
  @Override
  public List<String> at(String place, List<String> command) {
    return namespaces.at(place, command);
  }

  /** Removes every namespace, and with it what was in it. */
  @Override
  public void close() throws IOException, InterruptedException {
    namespaces.close();
  }
}
