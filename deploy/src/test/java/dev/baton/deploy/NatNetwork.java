package dev.baton.deploy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * A small internet in network namespaces of this machine, none of which reaches beyond: a public
 * network with a server on it, and two homes, each behind a router that translates addresses. Where
 * there is no nft to do that, the server is given routes to the homes, and they have none to each
 * other. Needs root.
 */
final class NatNetwork implements AutoCloseable {
  /** The server's address; RFC 5737 gave the network to nobody. */
  static final String SERVER = "198.51.100.1";

  private final String prefix = "baton" + ProcessHandle.current().pid() + "-";
  private final List<String> namespaces = new ArrayList<>();
  private final boolean translated;

  /**
   * What a command printed.
   *
   * @param text both streams
   */
  record Result(int exit, String text) {}

  NatNetwork() throws IOException, InterruptedException {
    translated = run(List.of("nft", "--version")).exit() == 0;
    try {
      String server = namespace("server");
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

  /** Whether this machine and this user can make one. */
  static boolean possible() throws IOException, InterruptedException {
    if (!"root".equals(System.getProperty("user.name"))) {
      return false;
    }
    String name = "baton" + ProcessHandle.current().pid() + "-try";
    boolean made = run(List.of("ip", "netns", "add", name)).exit() == 0;
    return made && run(List.of("ip", "netns", "del", name)).exit() == 0;
  }

  private void connect(String server, int home) throws IOException, InterruptedException {
    String router = namespace("router" + home);
    String worker = namespace("home" + home);
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

  private String namespace(String name) throws IOException, InterruptedException {
    String full = prefix + name;
    ip("netns", "add", full);
    namespaces.add(full);
    ip("-n", full, "link", "set", "lo", "up");
    return full;
  }

  /** Whether addresses are translated; else there are routes from the server. */
  boolean translated() {
    return translated;
  }

  /** A command line that runs in a place: server, home1 or home2. */
  List<String> at(String place, List<String> command) {
    return in(prefix + place, command.toArray(String[]::new));
  }

  private static List<String> in(String namespace, String... command) {
    List<String> line = new ArrayList<>(List.of("ip", "netns", "exec", namespace));
    line.addAll(List.of(command));
    return line;
  }

  private static void ip(String... arguments) throws IOException, InterruptedException {
    List<String> line = new ArrayList<>(List.of("ip"));
    line.addAll(List.of(arguments));
    must(line);
  }

  private static void must(List<String> command) throws IOException, InterruptedException {
    Result result = run(command);
    if (result.exit() != 0) {
      throw new IOException(String.join(" ", command) + ": " + result.text());
    }
  }

  /** Runs a command to its end; 127 where there is no such program. */
  static Result run(List<String> command) throws IOException, InterruptedException {
    Path out = Files.createTempFile("nat", ".out");
    try {
      Process process;
      try {
        process =
            new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(out.toFile())
                .start();
      } catch (IOException e) {
        return new Result(127, String.valueOf(e.getMessage()));
      }
      process.getOutputStream().close();
      if (!process.waitFor(5, TimeUnit.MINUTES)) {
        process.destroyForcibly();
      }
      return new Result(process.waitFor(), Files.readString(out, StandardCharsets.UTF_8).strip());
    } finally {
      Files.delete(out);
    }
  }

  /** Removes every namespace, and with it what was in it. */
  @Override
  public void close() throws IOException, InterruptedException {
    for (String namespace : namespaces) {
      Result unused = run(List.of("ip", "netns", "del", namespace));
    }
    namespaces.clear();
  }
}
