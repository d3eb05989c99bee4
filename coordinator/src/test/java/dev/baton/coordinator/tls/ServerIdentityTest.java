package dev.baton.coordinator.tls;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.coordinator.config.ConfigException;
import dev.baton.coordinator.config.DataDir;
import dev.baton.rpc.Pin;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.KeyStore;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.Date;
import java.util.List;
import java.util.concurrent.TimeUnit;
import okhttp3.tls.HeldCertificate;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class ServerIdentityTest {
  private static final InstantSource CLOCK = InstantSource.system();

  // Of an Ed25519 key, which no library here makes.
  private static final String EDWARDS =
      """
      -----BEGIN CERTIFICATE-----
      MIIBJjCB2aADAgECAhR5PmNk+sm7jVWFFKTyISX58s95nzAFBgMrZXAwDDEKMAgG
      A1UEAwwBeDAeFw0yNjExMjExODAxMzZaFw00NjExMTYxODAxMzZaMAwxCjAIBgNV
      BAMMAXgwKjAFBgMrZXADIQBHWVp+MPea4Ri+ag6utBDGsrjXJCVuc9ckIOsx1W01
      sqNNMEswHQYDVR0OBBYEFATR+ZF+HSP4Qujgj9FLtMqSQ0OGMB8GA1UdIwQYMBaA
      FATR+ZF+HSP4Qujgj9FLtMqSQ0OGMAkGA1UdEwQCMAAwBQYDK2VwA0EAoAR90RUm
      nlr0NHojkgNmQ7+wDEjPg82ztZIGYTKLUCa54o2bJRGPN7/Pumqxyx59Z6qfeGss
      E7OirGR+CGSwBQ==
      -----END CERTIFICATE-----
      """;

  @TempDir Path temp;

  @Test
  void theKeyIsMadeOnceForTheOwnerAloneAndStays() throws Exception {
    Path dir = temp.resolve("data");
    Pin pin;
    try (DataDir data = DataDir.open(dir)) {
      ServerIdentity made = ServerIdentity.own(data, List.of("train.example", "10.1.2.3"), CLOCK);
      pin = made.pin();
      X509Certificate certificate = made.chain().get(0);
      assertThat(pin).isEqualTo(Pin.of(certificate.getPublicKey())).isEqualTo(made.keyPin());
      assertThat(certificate.getPublicKey().getAlgorithm()).isEqualTo("EC");
      assertThat(made.hostNames()).contains("localhost", "train.example");
      assertThat(certificate.getSubjectAlternativeNames().toString()).contains("10.1.2.3");
      certificate.checkValidity(Date.from(Instant.now().plus(Duration.ofDays(19 * 365))));
      assertThat(made.serverContext().getServerSocketFactory()).isNotNull();
    }
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(dir.resolve("tls.pem"))))
        .isEqualTo("rw-------");
    try (DataDir data = DataDir.open(dir)) {
      ServerIdentity again = ServerIdentity.own(data, List.of("other.example"), CLOCK);
      assertThat(again.pin()).as("the pin after a restart").isEqualTo(pin);
    }
  }

  @Test
  void aDamagedKeyIsNotReplacedInSilence() throws Exception {
    Path dir = temp.resolve("data");
    try (DataDir data = DataDir.open(dir)) {
      ServerIdentity.own(data, List.of(), CLOCK).pin();
      Path file = dir.resolve("tls.pem");
      String whole = Files.readString(file);
      for (String damaged : List.of("", whole.substring(0, whole.length() / 2), "\0\1\2")) {
        Files.writeString(file, damaged);
        assertThatThrownBy(() -> ServerIdentity.own(data, List.of(), CLOCK))
            .isInstanceOf(ConfigException.class)
            .hasMessageContaining(file.toString())
            .hasMessageContaining("tokens name the old one")
            .message()
            .doesNotContain("\n");
      }
    }
  }

  private static HeldCertificate.Builder held() {
    return new HeldCertificate.Builder().addSubjectAlternativeName("train.example");
  }

  private Path write(String name, String... pem) throws Exception {
    return Files.writeString(temp.resolve(name), String.join("", pem));
  }

  @Test
  void oneOfOnesOwnIsPinnedUnlessTheRootsVouchForIt() throws Exception {
    HeldCertificate root = held().certificateAuthority(0).rsa2048().build();
    HeldCertificate leaf = held().signedBy(root).rsa2048().build();
    Path chain = write("chain.pem", leaf.certificatePem(), root.certificatePem());
    Path key = write("key.pem", leaf.privateKeyPkcs8Pem());
    Pin pinned = ServerIdentity.of(chain, key, CLOCK).pin();
    assertThat(pinned).isEqualTo(Pin.of(leaf.certificate().getPublicKey()));

    KeyStore roots = KeyStore.getInstance("PKCS12");
    roots.load(null, null);
    roots.setCertificateEntry("root", root.certificate());
    Path file = temp.resolve("roots.p12");
    try (OutputStream out = Files.newOutputStream(file)) {
      roots.store(out, "changeit".toCharArray());
    }
    System.setProperty("javax.net.ssl.trustStore", file.toString());
    System.setProperty("javax.net.ssl.trustStorePassword", "changeit");
    try {
      ServerIdentity vouched = ServerIdentity.of(chain, key, CLOCK);
      assertThat(vouched.pin()).isEqualTo(Pin.CA);
      assertThat(vouched.keyPin()).isEqualTo(pinned);
      assertThat(vouched.hostNames()).containsExactly("train.example");
    } finally {
      System.clearProperty("javax.net.ssl.trustStore");
      System.clearProperty("javax.net.ssl.trustStorePassword");
    }
  }

  private static void assertRefused(Path certificate, Path key, Path culprit, String why) {
    assertThatThrownBy(() -> ServerIdentity.of(certificate, key, CLOCK))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith(culprit + ": ")
        .hasMessageContaining(why)
        .message()
        .doesNotContain("\n");
  }

  @Test
  void whatCannotBeUsedIsRefusedByTheNameOfItsFile() throws Exception {
    HeldCertificate one = held().build();
    HeldCertificate two = held().build();
    Path certificate = write("one.pem", one.certificatePem());
    Path key = write("one.key", one.privateKeyPkcs8Pem());
    assertThat(ServerIdentity.of(certificate, key, CLOCK).pin().namesKey()).isTrue();

    Path missing = temp.resolve("missing.pem");
    assertRefused(missing, key, missing, "cannot be read");
    assertRefused(certificate, missing, missing, "cannot be read");
    assertRefused(key, key, key, "holds no certificate");
    assertRefused(certificate, certificate, certificate, "holds no private key");
    Path edwards = write("edwards.pem", EDWARDS);
    assertRefused(edwards, key, edwards, "expected EC or RSA");
    Path other = write("two.key", two.privateKeyPkcs8Pem());
    assertRefused(certificate, other, other, "is not the certificate's");
    Path torn = write("torn.pem", one.certificatePem().replace("MII", "AII").replace("MIIB", ""));
    assertRefused(torn, key, torn, "the certificate is damaged");
    Path tornKey = write("torn.key", one.privateKeyPkcs8Pem().replaceFirst("\nM", "\nQ"));
    assertRefused(certificate, tornKey, tornKey, "the private key is damaged");
    Path old =
        write("old.key", "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----");
    assertRefused(certificate, old, old, "openssl pkcs8 -topk8");
    long now = System.currentTimeMillis();
    Path expired =
        write(
            "expired.pem",
            held()
                .keyPair(one.keyPair())
                .validityInterval(now - TimeUnit.DAYS.toMillis(2), now - 60_000)
                .build()
                .certificatePem());
    assertRefused(expired, key, expired, "expired");
  }
}
