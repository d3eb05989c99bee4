package dev.baton.coordinator;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.coordinator.config.CertificateFiles;
import dev.baton.coordinator.config.Encryption;
import dev.baton.rpc.Access;
import dev.baton.rpc.Channels;
import dev.baton.rpc.HostPort;
import dev.baton.rpc.Pin;
import dev.baton.rpc.PinnedTrust;
import dev.baton.rpc.Proxies;
import dev.baton.rpc.TokenText;
import dev.baton.v1.AdminServiceGrpc;
import dev.baton.v1.CreateTokenRequest;
import dev.baton.v1.CreateTokenResponse;
import dev.baton.v1.DatasetServiceGrpc;
import dev.baton.v1.GetInfoRequest;
import dev.baton.v1.JobServiceGrpc;
import dev.baton.v1.ListWorkersRequest;
import dev.baton.v1.WorkerServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import io.grpc.ServerMethodDefinition;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.netty.shaded.io.netty.handler.ssl.util.InsecureTrustManagerFactory;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.Certificate;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLSocket;
import okhttp3.tls.HeldCertificate;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A whole coordinator with TLS: nothing of it answers without. */
@Timeout(120)
final class TlsTest {
  @TempDir Path temp;

  private TokenText adminToken() throws IOException {
    return TokenText.parse(Files.readString(temp.resolve("data/admin.token")));
  }

  private static <Q, A> Status call(ManagedChannel channel, MethodDescriptor<Q, A> method)
      throws Exception {
    Q request = ((PrototypeMarshaller<Q>) method.getRequestMarshaller()).getMessagePrototype();
    var end = new CompletableFuture<Status>();
    ClientCall<Q, A> call =
        channel.newCall(method, CallOptions.DEFAULT.withDeadlineAfter(20, TimeUnit.SECONDS));
    call.start(
        new ClientCall.Listener<A>() {
          @Override
          public void onClose(Status status, Metadata trailers) {
            end.complete(status);
          }
        },
        new Metadata());
    call.request(1);
    call.sendMessage(request);
    call.halfClose();
    return end.get(30, TimeUnit.SECONDS);
  }

  @Test
  void everyCallWithoutTlsIsRefused() throws Exception {
    try (var running = new Running(temp.resolve("data"), Encryption.ALWAYS)) {
      TokenText token = adminToken();
      HostPort address = HostPort.parse(running.address());
      assertThat(token.coordinator()).isPresent();
      assertThat(token.coordinator().get().address()).isEqualTo(address);
      ManagedChannel plain =
          Channels.open(new Access(address, Pin.PLAIN, token.secret()), Proxies.NONE);
      try {
        Set<String> tried = new HashSet<>();
        for (ServerServiceDefinition service : running.services()) {
          for (ServerMethodDefinition<?, ?> served : service.getMethods()) {
            MethodDescriptor<?, ?> method = served.getMethodDescriptor();
            plain.resetConnectBackoff();
            assertThat(call(plain, method).getCode())
                .as(method.getFullMethodName())
                .isEqualTo(Status.Code.UNAVAILABLE);
            tried.add(method.getFullMethodName());
          }
        }
        // What the server says that it serves is not too little.
        assertThat(tried)
            .hasSizeGreaterThan(15)
            .contains(
                JobServiceGrpc.getSubmitJobMethod().getFullMethodName(),
                DatasetServiceGrpc.getListDatasetsMethod().getFullMethodName(),
                WorkerServiceGrpc.getSessionMethod().getFullMethodName(),
                AdminServiceGrpc.getCreateTokenMethod().getFullMethodName());
      } finally {
        plain.shutdownNow();
      }
      // And with TLS the same token is good.
      assertThat(call(running.adminChannel(), AdminServiceGrpc.getListWorkersMethod()).isOk())
          .isTrue();
    }
  }

  private static int get(HttpClient client, String url) throws Exception {
    return client
        .send(
            HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(20)).build(),
            BodyHandlers.discarding())
        .statusCode();
  }

  @Test
  void everyUrlWithoutTlsIsRefused() throws Exception {
    try (var running = new Running(temp.resolve("data"), Encryption.ALWAYS)) {
      Pin pin = adminToken().coordinator().orElseThrow().pin();
      HttpClient trusting =
          HttpClient.newBuilder().sslContext(PinnedTrust.of(pin, "127.0.0.1").context()).build();
      HttpClient plain = HttpClient.newHttpClient();
      for (String path : List.of("/healthz", "/metrics", "/join", "/releases/", "/")) {
        String rest = "://" + running.http() + path;
        assertThat(get(trusting, "https" + rest)).as(path).isIn(200, 404);
        assertThatThrownBy(() -> get(plain, "http" + rest))
            .as(path)
            .isInstanceOf(IOException.class);
        assertThatThrownBy(() -> get(plain, "https" + rest))
            .as("without the key: " + path)
            .isInstanceOf(SSLException.class);
      }
    }
  }

  /** What a server shows to whoever connects. */
  private static List<Certificate> shown(HostPort address) throws Exception {
    SSLContext any = SSLContext.getInstance("TLS");
    any.init(null, InsecureTrustManagerFactory.INSTANCE.getTrustManagers(), null);
    try (SSLSocket socket =
        (SSLSocket) any.getSocketFactory().createSocket(address.host(), address.port())) {
      socket.setSoTimeout(20_000);
      socket.startHandshake();
      return List.of(socket.getSession().getPeerCertificates());
    }
  }

  @Test
  void everyPortShowsTheOperatorsCertificate() throws Exception {
    HeldCertificate authority = new HeldCertificate.Builder().certificateAuthority(0).build();
    HeldCertificate own =
        new HeldCertificate.Builder()
            .signedBy(authority)
            .rsa2048()
            .addSubjectAlternativeName("train.example")
            .build();
    var files =
        new CertificateFiles(
            Files.writeString(
                temp.resolve("own.pem"), own.certificatePem() + authority.certificatePem()),
            Files.writeString(temp.resolve("own.key"), own.privateKeyPkcs8Pem()));
    // Loopback alone: the certificate itself asks for TLS.
    try (var running =
        new Running(temp.resolve("data"), Encryption.WHERE_NEEDED, Optional.of(files))) {
      URI objects =
          URI.create(
              running.admin().getInfo(GetInfoRequest.getDefaultInstance()).getProbe().getUrl());
      assertThat(objects.getScheme()).isEqualTo("https");
      HostPort grpc = HostPort.parse(running.address());
      for (HostPort port :
          List.of(grpc, running.http(), new HostPort("127.0.0.1", objects.getPort()))) {
        assertThat(shown(port))
            .as("%s", port)
            .containsExactly(own.certificate(), authority.certificate());
      }
      assertThat(adminToken().coordinator())
          .contains(new TokenText.Origin(Pin.of(own.keyPair().getPublic()), grpc));
    }
    assertThat(temp.resolve("data/tls.pem")).as("a key that nobody asked for").doesNotExist();
  }

  @Test
  void theKeyAndTheAdminsSecretOutliveARestartAndTheAddressFollows() throws Exception {
    TokenText first;
    try (var running = new Running(temp.resolve("data"), Encryption.ALWAYS)) {
      first = adminToken();
      assertThat(first.coordinator().orElseThrow().address())
          .isEqualTo(HostPort.parse(running.address()));
    }
    try (var running = new Running(temp.resolve("data"), Encryption.ALWAYS)) {
      TokenText second = adminToken();
      assertThat(second.secret()).isEqualTo(first.secret());
      assertThat(second.coordinator().orElseThrow().pin())
          .isEqualTo(first.coordinator().orElseThrow().pin());
      assertThat(second.coordinator().orElseThrow().address())
          .as("another port")
          .isEqualTo(HostPort.parse(running.address()));
      assertThat(
              running.admin().listWorkers(ListWorkersRequest.getDefaultInstance()).getWorkersList())
          .isEmpty();
    }
    try (var running = new Running(temp.resolve("data"), Encryption.NEVER)) {
      assertThat(adminToken().coordinator().orElseThrow())
          .isEqualTo(new TokenText.Origin(Pin.PLAIN, HostPort.parse(running.address())));
    }
  }

  @Test
  void aTokenNamesTheAddressByWhichItsMakerCame() throws Exception {
    try (var running = new Running(temp.resolve("data"), Encryption.ALWAYS)) {
      TokenText admin = adminToken();
      HostPort byName = new HostPort("localhost", HostPort.parse(running.address()).port());
      ManagedChannel channel =
          Channels.open(
              new Access(byName, admin.coordinator().orElseThrow().pin(), admin.secret()),
              Proxies.NONE);
      try {
        CreateTokenResponse made =
            AdminServiceGrpc.newBlockingStub(channel)
                .createToken(CreateTokenRequest.newBuilder().setRole("worker").build());
        assertThat(TokenText.parse(made.getToken()).coordinator())
            .contains(new TokenText.Origin(admin.coordinator().orElseThrow().pin(), byName));
        assertThat(made.getHttpUrl()).isEqualTo("https://localhost:" + running.http().port());
      } finally {
        channel.shutdownNow();
      }
    }
  }
}
