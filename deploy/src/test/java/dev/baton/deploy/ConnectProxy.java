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
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * An HTTP proxy that opens tunnels (CONNECT) for those who know its password, to one host alone,
 * whose name nobody else on this machine can resolve. What comes back through it can be slow, and
 * break off.
 */
final class ConnectProxy implements AutoCloseable {
  private final ServerSocket listener = new ServerSocket(0, 64, InetAddress.getLoopbackAddress());
  private final List<String> tunnels = new CopyOnWriteArrayList<>();
  private final List<String> refused = new CopyOnWriteArrayList<>();
  private final String host;
  private final String login;
  private final long bytesPerSecond;
  private final long cutAfter;
  private final AtomicLong bytes = new AtomicLong();
  private final AtomicInteger cuts = new AtomicInteger();
  private long lineFreeAt = System.nanoTime();

  /**
   * @param host what it knows as another name of 127.0.0.1
   * @param login USER:PASSWORD
   */
  ConnectProxy(String host, String login) throws IOException {
    this(host, login, Long.MAX_VALUE, Long.MAX_VALUE);
  }

  /**
   * As above, on a bad line.
   *
   * @param bytesPerSecond how fast all that comes back comes, together
   * @param cutAfter the bytes that come back through one tunnel before it is cut
   */
  ConnectProxy(String host, String login, long bytesPerSecond, long cutAfter) throws IOException {
    this.bytesPerSecond = bytesPerSecond;
    this.cutAfter = cutAfter;
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

  /** What came back through all tunnels. */
  long bytes() {
    return bytes.get();
  }

  /** Tunnels that were cut. */
  int cuts() {
    return cuts.get();
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
          start(() -> pumpBack(server, client));
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

  private void pumpBack(Socket server, Socket client) {
    byte[] buffer = new byte[16 << 10];
    try {
      InputStream in = server.getInputStream();
      for (long left = cutAfter; left > 0; ) {
        int n = in.read(buffer, 0, (int) Math.min(buffer.length, left));
        if (n < 0) {
          client.shutdownOutput();
          return;
        }
        awaitLine(n);
        client.getOutputStream().write(buffer, 0, n);
        bytes.addAndGet(n);
        left -= n;
      }
      cuts.incrementAndGet();
      server.close();
      client.close();
    } catch (IOException e) {
      try {
        server.close();
        client.close();
      } catch (IOException again) {
        e.addSuppressed(again);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void awaitLine(int n) throws InterruptedException {
    long wait;
    synchronized (this) {
      long now = System.nanoTime();
      lineFreeAt = Math.max(lineFreeAt, now) + (long) (n * 1e9 / bytesPerSecond);
      wait = lineFreeAt - now;
    }
    // Shorter sleeps would take longer than they say.
    if (wait > 5_000_000) {
      Thread.sleep(wait / 1_000_000);
    }
  }

  @Override
  public void close() throws IOException {
    listener.close();
  }
}
