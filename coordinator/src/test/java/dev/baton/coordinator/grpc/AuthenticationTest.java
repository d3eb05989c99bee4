package dev.baton.coordinator.grpc;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.coordinator.auth.Tokens;
import dev.baton.coordinator.core.Token.Role;
import dev.baton.rpc.Channels;
import dev.baton.v1.AdminServiceGrpc;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.DatasetServiceGrpc;
import dev.baton.v1.JobServiceGrpc;
import dev.baton.v1.WorkerMessage;
import dev.baton.v1.WorkerServiceGrpc;
import io.grpc.Attributes;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.ServerCall;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

final class AuthenticationTest {
  private static final long NOW = 1_000_000;

  private final Tokens tokens = new Tokens(List.of());
  private final AtomicLong now = new AtomicLong(NOW);
  private final Authentication authentication = new Authentication(tokens, now::get);

  private static List<MethodDescriptor<?, ?>> methods() {
    return Stream.of(
            JobServiceGrpc.getServiceDescriptor(),
            DatasetServiceGrpc.getServiceDescriptor(),
            AdminServiceGrpc.getServiceDescriptor(),
            WorkerServiceGrpc.getServiceDescriptor())
        .flatMap(service -> service.getMethods().stream())
        .<MethodDescriptor<?, ?>>map(method -> method)
        .toList();
  }

  private String token(Role role, long expiresAtMs) {
    Tokens.NewToken made = Tokens.create(role, 0, expiresAtMs);
    tokens.add(made.stored());
    return made.text();
  }

  /** Writes down what becomes of it. */
  private static final class FakeCall<Q, A> extends ServerCall<Q, A> {
    private final MethodDescriptor<Q, A> method;
    final List<A> sent = new ArrayList<>();
    final List<Status> closed = new ArrayList<>();

    FakeCall(MethodDescriptor<Q, A> method) {
      this.method = method;
    }

    @Override
    public void request(int numMessages) {}

    @Override
    public void sendHeaders(Metadata headers) {}

    @Override
    public void sendMessage(A message) {
      sent.add(message);
    }

    @Override
    public void close(Status status, Metadata trailers) {
      closed.add(status);
    }

    @Override
    public boolean isCancelled() {
      return false;
    }

    @Override
    public MethodDescriptor<Q, A> getMethodDescriptor() {
      return method;
    }

    @Override
    public String getAuthority() {
      return "somewhere:7070";
    }

    @Override
    public Attributes getAttributes() {
      return Attributes.EMPTY;
    }
  }

  private static Metadata headers(@Nullable String header) {
    var headers = new Metadata();
    if (header != null) {
      headers.put(Channels.AUTHORIZATION, header);
    }
    return headers;
  }

  /** How the call was closed; OK where it was let through. */
  private <Q, A> Status call(MethodDescriptor<Q, A> method, @Nullable String header) {
    var call = new FakeCall<>(method);
    List<Status> closed = call.closed;
    var started = new ArrayList<String>();
    var unused =
        authentication.interceptCall(
            call,
            headers(header),
            (c, h) -> {
              started.add(String.valueOf(Authentication.HOST.get()));
              return new ServerCall.Listener<>() {};
            });
    if (closed.isEmpty()) {
      assertThat(started).containsExactly("somewhere");
      return Status.OK;
    }
    assertThat(started).isEmpty();
    return closed.get(0);
  }

  @Test
  void everyMethodHasItsRoles() {
    Map<String, Set<Role>> special =
        Map.of(
            "ListWorkers", Set.of(Role.ADMIN, Role.USER),
            "GetInfo", Set.of(Role.values()),
            "DrainWorker", Set.of(Role.ADMIN),
            "CreateToken", Set.of(Role.ADMIN));
    Map<String, Set<Role>> services =
        Map.of(
            JobServiceGrpc.SERVICE_NAME, Set.of(Role.ADMIN, Role.USER),
            DatasetServiceGrpc.SERVICE_NAME, Set.of(Role.ADMIN, Role.USER),
            WorkerServiceGrpc.SERVICE_NAME, Set.of(Role.ADMIN, Role.WORKER));
    Map<Role, String> byRole = new TreeMap<>();
    for (Role role : Role.values()) {
      byRole.put(role, token(role, 0));
    }
    assertThat(methods()).hasSizeGreaterThan(20);
    for (MethodDescriptor<?, ?> method : methods()) {
      Set<Role> allowed =
          special.getOrDefault(
              String.valueOf(method.getBareMethodName()),
              services.getOrDefault(String.valueOf(method.getServiceName()), Set.of()));
      assertThat(allowed).as(method.getFullMethodName()).isNotEmpty();
      byRole.forEach(
          (role, token) ->
              assertThat(call(method, "Bearer " + token).getCode())
                  .as("%s as %s", method.getFullMethodName(), role)
                  .isEqualTo(
                      allowed.contains(role) ? Status.Code.OK : Status.Code.PERMISSION_DENIED));
    }
  }

  @Test
  void withoutAGoodTokenNothingIsPossible() {
    String good = token(Role.ADMIN, NOW + 1);
    String expired = token(Role.ADMIN, NOW);
    for (MethodDescriptor<?, ?> method : methods()) {
      assertThat(call(method, "Bearer " + good)).isEqualTo(Status.OK);
      for (String header :
          new @Nullable String[] {
            null, "", "Bearer", "Bearer ", "Bearer x", "Basic " + good, "Bearer " + expired, good
          }) {
        Status status = call(method, header);
        assertThat(status.getCode()).as("%s", header).isEqualTo(Status.Code.UNAUTHENTICATED);
        assertThat(status.getDescription()).doesNotContain(good).doesNotContain(expired);
      }
    }
    assertThat(call(methods().get(0), "Bearer " + expired).getDescription())
        .contains("expired at 1970-01-01T00:16:40Z");
  }

  @Test
  void aStreamEndsWithItsTokenAndIsHeardOfAsCancelled() {
    var fake = new FakeCall<>(WorkerServiceGrpc.getSessionMethod());
    var calls = new ArrayList<ServerCall<WorkerMessage, CoordinatorMessage>>();
    var heard = new ArrayList<String>();
    var listener =
        authentication.interceptCall(
            fake,
            headers("Bearer " + token(Role.WORKER, NOW + 1000)),
            (call, headers) -> {
              calls.add(call);
              return new ServerCall.Listener<>() {
                @Override
                public void onCancel() {
                  heard.add("cancelled");
                }

                @Override
                public void onComplete() {
                  heard.add("completed");
                }
              };
            });
    now.set(NOW + 999);
    authentication.endExpired();
    ServerCall<WorkerMessage, CoordinatorMessage> call = calls.get(0);
    call.sendMessage(CoordinatorMessage.getDefaultInstance());
    assertThat(fake.closed).isEmpty();
    assertThat(fake.sent).hasSize(1);

    now.set(NOW + 1000);
    authentication.endExpired();
    authentication.endExpired();
    assertThat(fake.closed)
        .singleElement()
        .satisfies(
            status -> {
              assertThat(status.getCode()).isEqualTo(Status.Code.UNAUTHENTICATED);
              assertThat(status.getDescription()).contains("expired at 1970-01-01T00:16:41Z");
            });
    assertThat(call.isCancelled()).isTrue();
    call.sendMessage(CoordinatorMessage.getDefaultInstance());
    call.close(Status.OK, new Metadata());
    assertThat(fake.sent).hasSize(1);
    assertThat(fake.closed).hasSize(1);
    listener.onComplete();
    assertThat(heard).containsExactly("cancelled");
  }

  @Test
  void theHostIsTheAuthoritysWithoutItsPort() {
    assertThat(Authentication.hostOf("example.org:7070")).isEqualTo("example.org");
    assertThat(Authentication.hostOf("example.org")).isEqualTo("example.org");
    assertThat(Authentication.hostOf("[::1]:7070")).isEqualTo("::1");
    assertThat(Authentication.hostOf("[::1]")).isEqualTo("::1");
    assertThat(Authentication.hostOf(null)).isEmpty();
  }
}
