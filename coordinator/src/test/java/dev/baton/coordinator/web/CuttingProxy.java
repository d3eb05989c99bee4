package dev.baton.coordinator.web;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/** Passes connections on to a port, and cuts each after so many bytes of the answer. */
final class CuttingProxy implements AutoCloseable {
  private final ServerSocket listening = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
  private final int target;
  private final long limit;
  private final AtomicLong bytes = new AtomicLong();
  private final AtomicInteger cuts = new AtomicInteger();

  CuttingProxy(int target, long limit) throws IOException {
    this.target = target;
    this.limit = limit;
    thread(this::accept);
  }

  int port() {
    return listening.getLocalPort();
  }

  /** Of all answers. */
  long bytes() {
    return bytes.get();
  }

  int cuts() {
    return cuts.get();
  }

  @Override
  public void close() throws IOException {
    listening.close();
  }

  private interface Task {
    void run() throws IOException;
  }

  private static void thread(Task task) {
    Thread thread =
        new Thread(
            () -> {
              try {
                task.run();
              } catch (IOException e) {
                // One end has gone, and the other with it.
                return;
              }
            },
            "proxy");
    thread.setDaemon(true);
    thread.start();
  }

  private void accept() throws IOException {
    while (true) {
      Socket near = listening.accept();
      Socket far = new Socket(InetAddress.getLoopbackAddress(), target);
      thread(
          () -> {
            try (far) {
              near.getInputStream().transferTo(far.getOutputStream());
            }
          });
      thread(() -> answer(near, far));
    }
  }

  private void answer(Socket near, Socket far) throws IOException {
    try (near;
        far) {
      InputStream in = far.getInputStream();
      OutputStream out = near.getOutputStream();
      byte[] buffer = new byte[8192];
      for (long left = limit; left > 0; ) {
        int n = in.read(buffer, 0, (int) Math.min(buffer.length, left));
        if (n < 0) {
          return;
        }
        out.write(buffer, 0, n);
        bytes.addAndGet(n);
        left -= n;
      }
      cuts.incrementAndGet();
    }
  }
}
