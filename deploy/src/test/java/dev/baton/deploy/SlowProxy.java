package dev.baton.deploy;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * A proxy for CONNECT that takes every host's name for this machine's, on a line of a given speed,
 * which cuts long connections.
 */
final class SlowProxy implements AutoCloseable {
  private final ServerSocket listening = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
  private final long bytesPerSecond;
  private final long cutAfter;
  private final AtomicLong bytes = new AtomicLong();
  private final AtomicInteger cuts = new AtomicInteger();
  private final List<Socket> sockets = new CopyOnWriteArrayList<>();
  private final Set<String> asked = ConcurrentHashMap.newKeySet();
  private long freeAt = System.nanoTime();

  /**
   * Listens on a port of its own.
   *
   * @param bytesPerSecond how fast all answers together come
   * @param cutAfter the bytes of an answer after which its connection is cut
   */
  SlowProxy(long bytesPerSecond, long cutAfter) throws IOException {
    this.bytesPerSecond = bytesPerSecond;
    this.cutAfter = cutAfter;
    thread(this::accept);
  }

  int port() {
    return listening.getLocalPort();
  }

  /** Of all answers. */
  long bytes() {
    return bytes.get();
  }

  /** Connections that were. */
  int cuts() {
    return cuts.get();
  }

  /** HOST:PORT of each CONNECT. */
  Set<String> asked() {
    return asked;
  }

  @Override
  public void close() throws IOException {
    listening.close();
    for (Socket socket : sockets) {
      socket.close();
    }
  }

  private interface Task {
    void run() throws IOException, InterruptedException;
  }

  private static void thread(Task task) {
    Thread thread =
        new Thread(
            () -> {
              try {
                task.run();
              } catch (IOException e) {
                // One end has gone, and the other goes with it.
                return;
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            },
            "proxy");
    thread.setDaemon(true);
    thread.start();
  }

  private void accept() throws IOException {
    while (true) {
      Socket near = listening.accept();
      sockets.add(near);
      thread(() -> serve(near));
    }
  }

  private void serve(Socket near) throws IOException {
    int port = connect(near);
    Socket far = new Socket(InetAddress.getLoopbackAddress(), port);
    sockets.add(far);
    thread(
        () -> {
          try (far) {
            near.getInputStream().transferTo(far.getOutputStream());
          }
        });
    thread(() -> answer(near, far));
  }

  private int connect(Socket near) throws IOException {
    StringBuilder head = new StringBuilder();
    InputStream in = near.getInputStream();
    while (head.indexOf("\r\n\r\n") < 0) {
      int next = in.read();
      if (next < 0 || head.length() > 8192) {
        throw new IOException("no request");
      }
      head.append((char) next);
    }
    String[] words = head.toString().split(" ", 3);
    asked.add(words[0].equals("CONNECT") ? words[1] : words[0] + " " + words[1]);
    if (!words[0].equals("CONNECT")) {
      near.close();
      throw new IOException("no CONNECT");
    }
    near.getOutputStream().write("HTTP/1.1 200 OK\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
    return Integer.parseInt(words[1].substring(words[1].lastIndexOf(':') + 1));
  }

  private void answer(Socket near, Socket far) throws IOException, InterruptedException {
    try (near;
        far) {
      InputStream in = far.getInputStream();
      OutputStream out = near.getOutputStream();
      byte[] buffer = new byte[16 << 10];
      for (long left = cutAfter; left > 0; ) {
        int n = in.read(buffer, 0, (int) Math.min(buffer.length, left));
        if (n < 0) {
          return;
        }
        passAt(n);
        out.write(buffer, 0, n);
        bytes.addAndGet(n);
        left -= n;
      }
      cuts.incrementAndGet();
    }
  }

  private void passAt(int n) throws InterruptedException {
    long wait;
    synchronized (this) {
      long now = System.nanoTime();
      freeAt = Math.max(freeAt, now) + (long) (n * 1e9 / bytesPerSecond);
      wait = freeAt - now;
    }
    // Shorter sleeps would take longer than they say.
    if (wait > 5_000_000) {
      Thread.sleep(wait / 1_000_000);
    }
  }
}
