package dev.baton.rpc;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.security.GeneralSecurityException;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.util.Optional;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;
import org.jspecify.annotations.Nullable;

/**
 * Says why a connection was not trusted. In each case the handshake failed before a token was sent,
 * and trying again is of no use.
 */
public final class TrustProblems {
  private static final int PROBE_MS = 2_000;

  private TrustProblems() {}

  /**
   * One line for the user; empty where the failure is of another kind.
   *
   * @param failure of a call; its causes are looked through
   * @param access by which it was called
   */
  public static Optional<String> describe(Throwable failure, Access access) {
    HostPort coordinator = access.address();
    @Nullable CertificateException unverified = null;
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      String message = String.valueOf(cause.getMessage());
      if (cause instanceof WrongKeyException) {
        return Optional.of(
            "the coordinator at "
                + coordinator
                + " has another key than the token names ("
                + message
                + "): it is not the one that made this token, or its certificate was replaced; make"
                + " a new token");
      }
      // Netty's and the JDK's words for an answer that is no TLS record.
      if (message.contains("not an SSL/TLS record")
          || message.contains("Unrecognized SSL message, plaintext")
          || (cause instanceof SSLException && message.contains("WRONG_VERSION_NUMBER"))) {
        return Optional.of(
            "the server at "
                + coordinator
                + " does not speak TLS, though the token names its key; is this the coordinator's"
                + " gRPC port, and was it started anew with --insecure or on loopback alone?");
      }
      if (message.contains("Failed ALPN negotiation")) {
        return Optional.of(
            "the server at "
                + coordinator
                + " does not speak gRPC; is this the coordinator's HTTP port?");
      }
      // A TLS server hangs up on whoever does not begin a handshake.
      if (!access.pin().tls()
          && (message.contains("Network closed for unknown reason")
              || message.contains("Connection reset")
              || message.contains("Broken pipe"))
          && speaksTls(coordinator)) {
        return Optional.of(
            "the server at "
                + coordinator
                + " speaks TLS, and the token names no key of it; give the whole token, as 'baton"
                + " token create' prints it now");
      }
      if (cause instanceof CertificateException e) {
        unverified = e;
      }
    }
    return Optional.ofNullable(unverified)
        .map(
            e ->
                "the certificate of the coordinator at "
                    + coordinator
                    + " is not one that this machine trusts for that name: "
                    + String.valueOf(e.getMessage()).strip().replaceAll("\\s+", " "));
  }

  /** Shakes hands with whoever is there, and sends nothing. */
  private static boolean speaksTls(HostPort address) {
    TrustManager anybody =
        new X509ExtendedTrustManager() {
          @Override
          public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket) {}

          @Override
          public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket) {}

          @Override
          public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine) {}

          @Override
          public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine engine) {}

          @Override
          public void checkClientTrusted(X509Certificate[] chain, String type) {}

          @Override
          public void checkServerTrusted(X509Certificate[] chain, String type) {}

          @Override
          public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
          }
        };
    try {
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(null, new TrustManager[] {anybody}, null);
      try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket()) {
        socket.connect(new InetSocketAddress(address.host(), address.port()), PROBE_MS);
        socket.setSoTimeout(PROBE_MS);
        socket.startHandshake();
        return true;
      }
    } catch (IOException | GeneralSecurityException e) {
      return false;
    }
  }
}
