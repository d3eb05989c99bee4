package dev.baton.deploy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicInteger;
import javax.net.ServerSocketFactory;
import okhttp3.tls.HandshakeCertificates;
import okhttp3.tls.HeldCertificate;

/** Listens where a coordinator is sought, and keeps what it is told. */
final class Impostor implements AutoCloseable {
  private final ServerSocket listener;
  private final AtomicInteger callers = new AtomicInteger();
  private final ByteArrayOutputStream heard = new ByteArrayOutputStream();

  /** With a certificate of its own, or without TLS. */
  Impostor(boolean tls) throws IOException {
    ServerSocketFactory factory =
        tls
            ? new HandshakeCertificates.Builder()
                .heldCertificate(
                    new HeldCertificate.Builder()
                        .addSubjectAlternativeName("localhost")
                        .addSubjectAlternativeName("127.0.0.1")
                        .build())
                .build()
                .sslContext()
                .getServerSocketFactory()
            : ServerSocketFactory.getDefault();
    listener = factory.createServerSocket();
    listener.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
    Thread thread = new Thread(this::listen, "impostor");
    thread.setDaemon(true);
    thread.start();
  }

  private void listen() {
    while (!listener.isClosed()) {
      try (var caller = listener.accept()) {
        callers.incrementAndGet();
        caller.setSoTimeout(5_000);
        // Decrypted, where there is TLS: what a caller says once it trusts.
        byte[] buffer = new byte[4096];
        for (int n; (n = caller.getInputStream().read(buffer)) >= 0; ) {
          synchronized (heard) {
            heard.write(buffer, 0, n);
          }
          if (!(caller instanceof javax.net.ssl.SSLSocket)) {
            caller
                .getOutputStream()
                .write("HTTP/1.1 400 Bad Request\r\n\r\n".getBytes(StandardCharsets.ISO_8859_1));
            break;
          }
        }
      } catch (IOException e) {
        // The caller hung up, or did not like the certificate.
      }
    }
  }

  String address() {
    return "127.0.0.1:" + listener.getLocalPort();
  }

  int callers() {
    return callers.get();
  }

  String heard() {
    synchronized (heard) {
      return heard.toString(StandardCharsets.ISO_8859_1);
    }
  }

  @Override
  public void close() throws IOException {
    listener.close();
  }
}
