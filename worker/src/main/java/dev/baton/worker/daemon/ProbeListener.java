package dev.baton.worker.daemon;

import dev.baton.worker.config.PortRange;
import java.io.IOException;
import java.io.OutputStream;
import java.net.BindException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Lets other workers find out whether they reach this machine: whoever connects is told this
 * worker's id in one line, and nothing else. Has a thread of its own.
 */
public final class ProbeListener implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(ProbeListener.class);

  private static final int BACKLOG = 16;
  private static final long REST_MILLIS = 100;

  private final ServerSocket server;
  private final byte[] line;

  private ProbeListener(ServerSocket server, String workerId) {
    this.server = server;
    this.line = line(workerId).getBytes(StandardCharsets.US_ASCII);
  }

  /** What a worker answers. */
  static String line(String workerId) {
    return "baton " + workerId + "\n";
  }

  /**
   * Listens from now on.
   *
   * @param everywhere on every address of this machine, else on loopback alone
   * @param ports of which the first one that is free is taken
   * @throws IOException where none is free
   */
  public static ProbeListener open(String workerId, boolean everywhere, PortRange ports)
      throws IOException {
    for (int port = ports.first(); port <= ports.last(); port++) {
      InetSocketAddress address =
          everywhere
              ? new InetSocketAddress(port)
              : new InetSocketAddress(InetAddress.getLoopbackAddress(), port);
      ServerSocket server = new ServerSocket();
      try {
        server.bind(address, BACKLOG);
      } catch (BindException e) {
        log.debug("port {} is not free", port, e);
        server.close();
        continue;
      }
      ProbeListener listener = new ProbeListener(server, workerId);
      Thread thread = new Thread(listener::serve, "probes");
      thread.setDaemon(true);
      thread.start();
      return listener;
    }
    throw new IOException(
        "--ports: none of " + ports.first() + "-" + ports.last() + " is free on this machine");
  }

  /** Where it listens. */
  public int port() {
    return server.getLocalPort();
  }

  private void serve() {
    while (!server.isClosed()) {
      try (Socket socket = server.accept()) {
        OutputStream out = socket.getOutputStream();
        out.write(line);
        out.flush();
      } catch (IOException e) {
        if (!server.isClosed()) {
          // The other side's doing, or too many open files.
          log.debug("a probe was not answered", e);
          rest();
        }
      }
    }
  }

  private static void rest() {
    try {
      Thread.sleep(REST_MILLIS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() throws IOException {
    server.close();
  }
}
