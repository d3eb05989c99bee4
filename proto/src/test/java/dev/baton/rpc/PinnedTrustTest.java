package dev.baton.rpc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import dev.baton.v1.AdminServiceGrpc;
import dev.baton.v1.ListWorkersRequest;
import dev.baton.v1.ListWorkersResponse;
import io.grpc.InsecureServerCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsServerCredentials;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import okhttp3.tls.HandshakeCertificates;
import okhttp3.tls.HeldCertificate;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Real handshakes, over loopback. */
@Timeout(60)
class PinnedTrustTest {
  // For a name that nobody calls it by.
  private static final HeldCertificate HELD =
      new HeldCertificate.Builder().addSubjectAlternativeName("elsewhere.example").build();
  private static final Pin RIGHT = Pin.of(HELD.certificate().getPublicKey());
  private static final Pin WRONG =
      Pin.of(new HeldCertificate.Builder().build().keyPair().getPublic());

  private final List<String> authorizations = new CopyOnWriteArrayList<>();
  private Server server = NettyServerBuilder.forPort(0).build();

  @AfterEach
  void stop() {
    server.shutdownNow();
  }

  private HostPort serve(ServerCredentials credentials) throws IOException {
    server =
        NettyServerBuilder.forAddress(
                new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), credentials)
            .addService(
                new AdminServiceGrpc.AdminServiceImplBase() {
                  @Override
                  public void listWorkers(
                      ListWorkersRequest request, StreamObserver<ListWorkersResponse> out) {
                    out.onNext(ListWorkersResponse.getDefaultInstance());
                    out.onCompleted();
                  }
                })
            .intercept(
                new ServerInterceptor() {
                  @Override
                  public <Q, R> ServerCall.Listener<Q> interceptCall(
                      ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
                    authorizations.add(String.valueOf(headers.get(Channels.AUTHORIZATION)));
                    return next.startCall(call, headers);
                  }
                })
            .build()
            .start();
    return new HostPort("127.0.0.1", server.getPort());
  }

  private HostPort serveTls() throws IOException {
    return serve(
        TlsServerCredentials.create(
            stream(HELD.certificatePem()), stream(HELD.privateKeyPkcs8Pem())));
  }

  private static ByteArrayInputStream stream(String text) {
    return new ByteArrayInputStream(text.getBytes(StandardCharsets.US_ASCII));
  }

  private static void call(HostPort address, Pin pin) {
    ManagedChannel channel = Channels.open(new Access(address, pin, "baton-secret"), Proxies.NONE);
    try {
      var unused =
          AdminServiceGrpc.newBlockingStub(channel)
              .listWorkers(ListWorkersRequest.getDefaultInstance());
    } finally {
      channel.shutdownNow();
    }
  }

  private void assertNotTrusted(HostPort address, Pin pin, String why) {
    assertThatThrownBy(() -> call(address, pin))
        .isInstanceOfSatisfying(
            StatusRuntimeException.class,
            e ->
                assertThat(TrustProblems.describe(e, new Access(address, pin, "x")))
                    .as(String.valueOf(e.getStatus()))
                    .hasValueSatisfying(
                        line ->
                            assertThat(line)
                                .contains(address.toString(), why)
                                .doesNotContain("\n")));
    assertThat(authorizations).as("tokens that arrived").isEmpty();
  }

  @Test
  void theHolderOfTheKeyIsTrustedWhateverItsName() throws Exception {
    HostPort address = serveTls();
    call(address, RIGHT);
    assertThat(authorizations).containsExactly("Bearer baton-secret");
  }

  @Test
  void anotherKeyGetsNoToken() throws Exception {
    assertNotTrusted(serveTls(), WRONG, "has another key than the token names");
  }

  @Test
  void aCertificateThatNobodyVouchesForGetsNoToken() throws Exception {
    assertNotTrusted(serveTls(), Pin.CA, "is not one that this machine trusts");
  }

  @Test
  void aRootThatJavaTrustsVouchesForAName(@TempDir Path dir) throws Exception {
    HeldCertificate root = new HeldCertificate.Builder().certificateAuthority(0).build();
    HeldCertificate leaf =
        new HeldCertificate.Builder().signedBy(root).addSubjectAlternativeName("localhost").build();
    HostPort address =
        serve(
            TlsServerCredentials.create(
                stream(leaf.certificatePem()), stream(leaf.privateKeyPkcs8Pem())));
    KeyStore roots = KeyStore.getInstance("PKCS12");
    roots.load(null, null);
    roots.setCertificateEntry("root", root.certificate());
    Path file = dir.resolve("roots.p12");
    try (OutputStream out = Files.newOutputStream(file)) {
      roots.store(out, "changeit".toCharArray());
    }
    System.setProperty("javax.net.ssl.trustStore", file.toString());
    System.setProperty("javax.net.ssl.trustStorePassword", "changeit");
    try {
      assertNotTrusted(address, Pin.CA, "is not one that this machine trusts");
      call(new HostPort("localhost", address.port()), Pin.CA);
      assertThat(authorizations).containsExactly("Bearer baton-secret");
    } finally {
      System.clearProperty("javax.net.ssl.trustStore");
      System.clearProperty("javax.net.ssl.trustStorePassword");
    }
  }

  @Test
  void aServerWithoutTlsGetsNoToken() throws Exception {
    assertNotTrusted(serve(InsecureServerCredentials.create()), RIGHT, "does not speak TLS");
  }

  @Test
  void aServerWithTlsThatNobodyExpectedGetsNoToken() throws Exception {
    assertNotTrusted(serveTls(), Pin.PLAIN, "speaks TLS, and the token names no key");
  }

  @Test
  void otherFailuresAreOthers() {
    Access nowhere = new Access(new HostPort("127.0.0.1", 1), Pin.PLAIN, "x");
    for (String other : List.of("Connection refused", "Network closed for unknown reason")) {
      assertThat(TrustProblems.describe(new IOException(other), nowhere)).as(other).isEmpty();
    }
  }

  private static int get(PinnedTrust trust, int port) throws Exception {
    return HttpClient.newBuilder()
        .sslContext(trust.context())
        .build()
        .send(
            HttpRequest.newBuilder(URI.create("https://127.0.0.1:" + port + "/")).build(),
            BodyHandlers.discarding())
        .statusCode();
  }

  @Test
  void transfersWantTheKeyOfTheCoordinatorAndACertificateOfOthers() throws Exception {
    HttpsServer https =
        HttpsServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 8);
    https.setHttpsConfigurator(
        new HttpsConfigurator(
            new HandshakeCertificates.Builder().heldCertificate(HELD).build().sslContext()));
    https.createContext(
        "/",
        exchange -> {
          exchange.sendResponseHeaders(204, -1);
          exchange.close();
        });
    https.start();
    try {
      int port = https.getAddress().getPort();
      assertThat(get(PinnedTrust.of(RIGHT, "127.0.0.1"), port)).isEqualTo(204);
      assertThat(get(PinnedTrust.of(RIGHT, "far.example"), port)).isEqualTo(204);
      assertThatThrownBy(() -> get(PinnedTrust.of(WRONG, "127.0.0.1"), port))
          .hasRootCauseInstanceOf(WrongKeyException.class);
      assertThatThrownBy(() -> get(PinnedTrust.of(WRONG, "far.example"), port))
          .as("neither the key nor a root")
          .hasStackTraceContaining("unable to find valid certification path");
    } finally {
      https.stop(0);
    }
  }
}
