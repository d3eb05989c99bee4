package dev.baton.deploy;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * An HTTP proxy that opens tunnels (CONNECT) for those who know its password, to one host alone,
 * whose name nobody else on this machine can resolve.
 */
final class ConnectProxy implements AutoCloseable {
  private final ServerSocket listener = new ServerSocket(0, 64, InetAddress.getLoopbackAddress());
  private final List<String> tunnels = new CopyOnWriteArrayList<>();
  private final List<String> refused = new CopyOnWriteArrayList<>();
  private final String host;
  private final String login;

  /**
   * @param host what it knows as another name of 127.0.0.1
   * @param login USER:PASSWORD
   */
  ConnectProxy(String host, String login) throws IOException {
    this.host = host;
    this.login =
        "Basic " + Base64.getEncoder().encodeToString(login.getBytes(StandardCharsets.ISO_8859_1));
    start(this::accept);
  }

  private static void start(Runnable task) {
    Thread thread = new Thread(task, "proxy");
    thread.setDaemon(true);
    thread.start();
  }

  int port() {
    return listener.getLocalPort();
  }

  /** HOST:PORT of each tunnel that was opened. */
  List<String> tunnels() {
    return tunnels;
  }

  /** Every request that was no CONNECT to that host by somebody who may. */
  List<String> refused() {
    return refused;
  }

  private void accept() {
    while (!listener.isClosed()) {
      try {
        Socket client = listener.accept();
        start(() -> serve(client));
      } catch (IOException e) {
        return;
      }
    }
  }

  private void serve(Socket client) {
    try (client) {
      // One connection may ask again after a 407.
      for (String head = head(client); !head.isEmpty(); head = head(client)) {
        String target = head.split(" ", 3)[1];
        OutputStream out = client.getOutputStream();
        if (!head.contains("Authorization: " + login)
            && !head.contains("authorization: " + login)) {
          answer(
              out,
              "407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"test\"\r\n"
                  + "Content-Length: 0");
          continue;
        }
        if (!head.startsWith("CONNECT " + host + ":")) {
          refused.add(head.lines().findFirst().orElse(""));
          answer(out, "403 Forbidden\r\nContent-Length: 0\r\nConnection: close");
          return;
        }
        int port = Integer.parseInt(target.substring(target.lastIndexOf(':') + 1));
        try (Socket server = new Socket(InetAddress.getLoopbackAddress(), port)) {
          tunnels.add(target);
          answer(out, "200 Connection established");
          start(() -> pump(server, client));
          pump(client, server);
        }
        return;
      }
    } catch (IOException e) {
      // An end, as any.
    }
  }

  /** Up to the empty line; empty where the connection ends. */
  private static String head(Socket client) throws IOException {
    StringBuilder head = new StringBuilder();
    InputStream in = client.getInputStream();
    while (head.indexOf("\r\n\r\n") < 0) {
      int next = in.read();
      if (next < 0) {
        return "";
      }
      head.append((char) next);
    }
    return head.toString();
  }

  private static void answer(OutputStream out, String head) throws IOException {
    out.write(("HTTP/1.1 " + head + "\r\n\r\n").getBytes(StandardCharsets.ISO_8859_1));
    out.flush();
  }

  private static void pump(Socket from, Socket to) {
    try {
      from.getInputStream().transferTo(to.getOutputStream());
      to.shutdownOutput();
    } catch (IOException e) {
      try {
        from.close();
        to.close();
      } catch (IOException again) {
        e.addSuppressed(again);
      }
    }
  }

  @Override
  public void close() throws IOException {
    listener.close();
  }
}
