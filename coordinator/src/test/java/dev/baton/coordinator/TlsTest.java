package dev.baton.coordinator;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

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
import dev.baton.v1.JobServiceGrpc;
import dev.baton.v1.ListWorkersRequest;
import dev.baton.v1.WorkerServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import io.grpc.ServiceDescriptor;
import io.grpc.Status;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A whole coordinator with TLS: nothing of it answers without. */
@Timeout(120)
final class TlsTest {
  private static final List<ServiceDescriptor> SERVICES =
      List.of(
          JobServiceGrpc.getServiceDescriptor(),
          DatasetServiceGrpc.getServiceDescriptor(),
          WorkerServiceGrpc.getServiceDescriptor(),
          AdminServiceGrpc.getServiceDescriptor());

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
        int methods = 0;
        for (ServiceDescriptor service : SERVICES) {
          for (MethodDescriptor<?, ?> method : service.getMethods()) {
            plain.resetConnectBackoff();
            assertThat(call(plain, method).getCode())
                .as(method.getFullMethodName())
                .isEqualTo(Status.Code.UNAVAILABLE);
            methods++;
          }
        }
        assertThat(methods).isGreaterThan(15);
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
