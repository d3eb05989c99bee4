package dev.baton.rpc;

import java.net.Socket;
import java.security.GeneralSecurityException;
import java.security.KeyManagementException;
import java.security.KeyStore;
import java.security.NoSuchAlgorithmException;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.Optional;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;
import org.jspecify.annotations.Nullable;

/**
 * Trusts the server that holds one key, whatever else its certificate says: names and dates are
 * another way to the same end, and the key is the stronger one.
 */
public final class PinnedTrust extends X509ExtendedTrustManager {
  private final Pin pin;
  private final Optional<String> host;

  // Reading the system's roots takes a tenth of a second: only who meets a foreign server pays.
  private @Nullable X509ExtendedTrustManager roots;

  private PinnedTrust(Pin pin, Optional<String> host) {
    if (!pin.namesKey()) {
      throw new IllegalArgumentException(pin + " names no key");
    }
    this.pin = pin;
    this.host = host;
  }

  /** Every server must hold the key. */
  public static PinnedTrust everywhere(Pin pin) {
    return new PinnedTrust(pin, Optional.empty());
  }

  /**
   * The server of one host must hold the key. Others, such as a foreign object store, may show a
   * certificate for their name that the system's roots vouch for instead.
   */
  public static PinnedTrust of(Pin pin, String host) {
    return new PinnedTrust(pin, Optional.of(host));
  }

  /** A client's context that trusts by this. */
  public SSLContext context() {
    try {
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(null, new TrustManager[] {this}, null);
      return context;
    } catch (NoSuchAlgorithmException | KeyManagementException e) {
      throw new IllegalStateException("every Java has TLS", e);
    }
  }

  /** What Java trusts by itself. */
  public static X509ExtendedTrustManager systemRoots() {
    try {
      TrustManagerFactory factory =
          TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
      factory.init((KeyStore) null);
      return Arrays.stream(factory.getTrustManagers())
          .filter(X509ExtendedTrustManager.class::isInstance)
          .map(X509ExtendedTrustManager.class::cast)
          .findFirst()
          .orElseThrow();
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("this Java has no usable root certificates", e);
    }
  }

  private synchronized X509ExtendedTrustManager roots() {
    if (roots == null) {
      roots = systemRoots();
    }
    return roots;
  }

  /** Whether the key settles it; false where the roots are to be asked. */
  private boolean settled(X509Certificate[] chain, @Nullable String peer)
      throws CertificateException {
    if (chain.length == 0) {
      throw new CertificateException("the server shows no certificate");
    }
    if (pin.matches(chain[0].getPublicKey())) {
      return true;
    }
    if (host.isEmpty() || peer == null || bare(peer).equalsIgnoreCase(bare(host.get()))) {
      throw new WrongKeyException(pin, Pin.of(chain[0].getPublicKey()));
    }
    return false;
  }

  private static String bare(String host) {
    return host.startsWith("[") && host.endsWith("]") ? host.substring(1, host.length() - 1) : host;
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String authType, SSLEngine engine)
      throws CertificateException {
    if (!settled(chain, engine.getPeerHost())) {
      roots().checkServerTrusted(chain, authType, engine);
    }
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String authType, Socket socket)
      throws CertificateException {
    @Nullable String peer = null;
    if (socket instanceof SSLSocket tls && tls.getHandshakeSession() != null) {
      peer = tls.getHandshakeSession().getPeerHost();
    }
    if (!settled(chain, peer)) {
      roots().checkServerTrusted(chain, authType, socket);
    }
  }

  // Nobody's name is known here.
  @Override
  public void checkServerTrusted(X509Certificate[] chain, String authType)
      throws CertificateException {
    if (!settled(chain, null)) {
      throw new CertificateException("the server cannot be identified");
    }
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String authType, SSLEngine engine)
      throws CertificateException {
    throw noClients();
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String authType, Socket socket)
      throws CertificateException {
    throw noClients();
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String authType)
      throws CertificateException {
    throw noClients();
  }

  private static CertificateException noClients() {
    return new CertificateException("clients show tokens, not certificates");
  }

  @Override
  public X509Certificate[] getAcceptedIssuers() {
    return new X509Certificate[0];
  }
}
