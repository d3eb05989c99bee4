package dev.baton.coordinator.tls;

import dev.baton.coordinator.config.ConfigException;
import dev.baton.coordinator.config.DataDir;
import dev.baton.rpc.Pin;
import dev.baton.rpc.PinnedTrust;
import io.grpc.ServerCredentials;
import io.grpc.netty.shaded.io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.shaded.io.grpc.netty.NettySslContextServerCredentials;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContextBuilder;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.cert.CertificateException;
import java.security.cert.CertificateExpiredException;
import java.security.cert.CertificateFactory;
import java.security.cert.CertificateNotYetValidException;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.InstantSource;
import java.util.Base64;
import java.util.Collection;
import java.util.Date;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import okhttp3.tls.HeldCertificate;

/**
 * The private key and the certificate that every listener shows: made at the first start into
 * {@code DIR/tls.pem}, or the operator's own.
 */
public final class ServerIdentity {
  private static final String FILE = "tls.pem";
  // It is known by its key, so that a shorter life would only break tokens.
  private static final long LIFE_DAYS = 20 * 365L;
  private static final Pattern PEM =
      Pattern.compile("-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \\1-----");
  // Any will do: nothing of it is ever written.
  private static final char[] IN_MEMORY = "in memory".toCharArray();

  private final PrivateKey key;
  private final List<X509Certificate> chain;
  private final Pin pin;

  private ServerIdentity(PrivateKey key, List<X509Certificate> chain, Pin pin) {
    this.key = key;
    this.chain = List.copyOf(chain);
    this.pin = pin;
  }

  /**
   * The coordinator's own key, made where it has none yet. It stays the same from then on: tokens
   * name it.
   *
   * @param hosts names and addresses for the certificate, beside localhost's
   * @throws ConfigException where the file cannot be written or is damaged
   */
  public static ServerIdentity own(DataDir dataDir, Collection<String> hosts, InstantSource clock) {
    Path file = dataDir.resolve(FILE);
    try {
      if (!Files.exists(file)) {
        dataDir.writeSecret(FILE, create(hosts, clock));
      }
      String pem = Files.readString(file, StandardCharsets.UTF_8);
      List<X509Certificate> chain = certificates(file, pem);
      return new ServerIdentity(
          key(file, pem, chain.get(0)), chain, Pin.of(chain.get(0).getPublicKey()));
    } catch (IOException e) {
      throw new ConfigException(file + ": cannot be read or written: " + e.getMessage());
    } catch (ConfigException e) {
      throw new ConfigException(
          e.getMessage()
              + "; restore it, or remove it to have a new key made (tokens name the old"
              + " one, and must then be made anew)");
    }
  }

  /**
   * An operator's key and certificates (PEM). Where Java's root certificates vouch for them the pin
   * is {@link Pin#CA}, so that a renewed certificate breaks no token; else it is the key's.
   *
   * @param certificates the server's first, then what leads to the root
   * @throws ConfigException naming the file and what is wrong with it
   */
  public static ServerIdentity of(Path certificates, Path key, InstantSource clock) {
    List<X509Certificate> chain = certificates(certificates, read(certificates));
    X509Certificate first = chain.get(0);
    String kind = first.getPublicKey().getAlgorithm();
    if (!kind.equals("EC") && !kind.equals("RSA")) {
      // The workers' TLS takes no other.
      throw new ConfigException(
          certificates + ": the key is of kind " + kind + "; expected EC or RSA");
    }
    try {
      first.checkValidity(Date.from(clock.instant()));
    } catch (CertificateExpiredException e) {
      throw new ConfigException(certificates + ": the certificate expired " + first.getNotAfter());
    } catch (CertificateNotYetValidException e) {
      throw new ConfigException(
          certificates + ": the certificate is not valid before " + first.getNotBefore());
    }
    PrivateKey held = key(key, read(key), first);
    return new ServerIdentity(
        held, chain, vouchedFor(chain) ? Pin.CA : Pin.of(first.getPublicKey()));
  }

  /**
   * The coordinator's own key, where it has made one.
   *
   * @throws ConfigException where the file cannot be read or is damaged
   */
  public static Optional<ServerIdentity> known(Path dataDir) {
    Path file = dataDir.resolve(FILE);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    String pem = read(file);
    List<X509Certificate> chain = certificates(file, pem);
    return Optional.of(
        new ServerIdentity(
            key(file, pem, chain.get(0)), chain, Pin.of(chain.get(0).getPublicKey())));
  }

  private static String create(Collection<String> hosts, InstantSource clock) {
    long now = clock.millis();
    var made =
        new HeldCertificate.Builder()
            .ecdsa256()
            .commonName("Baton coordinator")
            // A day back, for callers whose clock is late.
            .validityInterval(
                now - TimeUnit.DAYS.toMillis(1), now + TimeUnit.DAYS.toMillis(LIFE_DAYS));
    var names = new LinkedHashSet<>(List.of("localhost", "127.0.0.1"));
    names.addAll(hosts);
    names.forEach(made::addSubjectAlternativeName);
    HeldCertificate certificate = made.build();
    return certificate.certificatePem() + certificate.privateKeyPkcs8Pem();
  }

  private static String read(Path file) {
    try {
      return Files.readString(file, StandardCharsets.ISO_8859_1);
    } catch (IOException e) {
      throw new ConfigException(file + ": cannot be read: " + DataDir.reason(e));
    }
  }

  private static List<X509Certificate> certificates(Path file, String pem) {
    List<X509Certificate> chain = new java.util.ArrayList<>();
    try {
      CertificateFactory factory = CertificateFactory.getInstance("X.509");
      for (Matcher block = PEM.matcher(pem); block.find(); ) {
        if (block.group(1).equals("CERTIFICATE")) {
          chain.add(
              (X509Certificate)
                  factory.generateCertificate(new ByteArrayInputStream(bytes(block.group(2)))));
        }
      }
    } catch (CertificateException | IllegalArgumentException e) {
      throw new ConfigException(file + ": the certificate is damaged");
    }
    if (chain.isEmpty()) {
      throw new ConfigException(
          file + ": holds no certificate; expected PEM, -----BEGIN CERTIFICATE-----");
    }
    return chain;
  }

  private static PrivateKey key(Path file, String pem, X509Certificate certificate) {
    Optional<PrivateKey> found = Optional.empty();
    PublicKey publicKey = certificate.getPublicKey();
    for (Matcher block = PEM.matcher(pem); block.find(); ) {
      String kind = block.group(1);
      if (kind.equals("PRIVATE KEY")) {
        try {
          found =
              Optional.of(
                  KeyFactory.getInstance(publicKey.getAlgorithm())
                      .generatePrivate(new PKCS8EncodedKeySpec(bytes(block.group(2)))));
        } catch (GeneralSecurityException | IllegalArgumentException e) {
          throw new ConfigException(
              file
                  + ": the private key is damaged, or not of the certificate's kind ("
                  + publicKey.getAlgorithm()
                  + ")");
        }
      } else if (kind.endsWith("PRIVATE KEY")) {
        throw new ConfigException(
            file
                + ": holds "
                + kind
                + "; expected an unencrypted PKCS#8 PRIVATE KEY, as 'openssl pkcs8 -topk8 -nodes"
                + " -in OLD -out NEW' makes it");
      }
    }
    PrivateKey key =
        found.orElseThrow(
            () ->
                new ConfigException(
                    file + ": holds no private key; expected PEM, -----BEGIN PRIVATE KEY-----"));
    if (!belongTogether(key, publicKey)) {
      throw new ConfigException(file + ": the private key is not the certificate's");
    }
    return key;
  }

  private static byte[] bytes(String base64) {
    return Base64.getMimeDecoder().decode(base64);
  }

  private static boolean belongTogether(PrivateKey key, PublicKey publicKey) {
    String scheme = publicKey.getAlgorithm().equals("EC") ? "SHA256withECDSA" : "SHA256withRSA";
    try {
      byte[] sample = new byte[32];
      new SecureRandom().nextBytes(sample);
      Signature signing = Signature.getInstance(scheme);
      signing.initSign(key);
      signing.update(sample);
      byte[] signed = signing.sign();
      Signature checking = Signature.getInstance(scheme);
      checking.initVerify(publicKey);
      checking.update(sample);
      return checking.verify(signed);
    } catch (GeneralSecurityException e) {
      return false;
    }
  }

  private static boolean vouchedFor(List<X509Certificate> chain) {
    try {
      PinnedTrust.systemRoots()
          .checkServerTrusted(chain.toArray(X509Certificate[]::new), "UNKNOWN");
      return true;
    } catch (CertificateException e) {
      return false;
    }
  }

  /** What tokens carry, so that their bearers know this coordinator. */
  public Pin pin() {
    return pin;
  }

  /** What its own calls to its own listeners trust: the key, whoever vouches for it. */
  public Pin keyPin() {
    return Pin.of(chain.get(0).getPublicKey());
  }

  /** The private key. */
  public PrivateKey key() {
    return key;
  }

  /** The server's certificate first. */
  public List<X509Certificate> chain() {
    return chain;
  }

  /** The names in the certificate, those of hosts, not of addresses; wildcards left out. */
  public List<String> hostNames() {
    try {
      Collection<List<?>> names = chain.get(0).getSubjectAlternativeNames();
      // RFC 5280: dNSName is [2].
      return names == null
          ? List.of()
          : names.stream()
              .filter(name -> Integer.valueOf(2).equals(name.get(0)))
              .map(name -> String.valueOf(name.get(1)))
              .filter(name -> !name.contains("*"))
              .toList();
    } catch (CertificateException e) {
      return List.of();
    }
  }

  /** For a gRPC server. */
  public ServerCredentials grpcCredentials() {
    try {
      return NettySslContextServerCredentials.create(
          GrpcSslContexts.configure(SslContextBuilder.forServer(key, chain)).build());
    } catch (SSLException e) {
      throw new IllegalStateException("the key cannot be used for TLS", e);
    }
  }

  /** A server's context with this key. */
  public SSLContext serverContext() {
    try {
      KeyStore store = KeyStore.getInstance("PKCS12");
      store.load(null, null);
      store.setKeyEntry("baton", key, IN_MEMORY, chain.toArray(X509Certificate[]::new));
      KeyManagerFactory keys =
          KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
      keys.init(store, IN_MEMORY);
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(keys.getKeyManagers(), null, null);
      return context;
    } catch (GeneralSecurityException | IOException e) {
      throw new IllegalStateException("the key cannot be used for TLS", e);
    }
  }
}
