package dev.baton.coordinator.grpc;

import dev.baton.coordinator.auth.Tokens;
import dev.baton.coordinator.core.Token;
import dev.baton.coordinator.core.Token.Role;
import dev.baton.rpc.Channels;
import dev.baton.v1.AdminServiceGrpc;
import dev.baton.v1.DatasetServiceGrpc;
import dev.baton.v1.JobServiceGrpc;
import dev.baton.v1.WorkerServiceGrpc;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.ForwardingServerCall.SimpleForwardingServerCall;
import io.grpc.ForwardingServerCallListener.SimpleForwardingServerCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import java.time.Instant;
import java.util.EnumSet;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Lets a call through only with a good token whose role may make it, and ends streams that outlive
 * theirs. Keeps in the call's context the host by which the caller reached the coordinator.
 */
public final class Authentication implements ServerInterceptor {
  /** The host of the call's {@code :authority}, without the port. */
  static final Context.Key<String> HOST = Context.key("baton-host");

  /** The whole of it: HOST:PORT, or HOST alone; empty where a caller names none. */
  static final Context.Key<String> AUTHORITY = Context.keyWithDefault("baton-authority", "");

  /** The token that was shown. */
  static final Context.Key<Token> TOKEN = Context.key("baton-token");

  private static final String BEARER = "Bearer ";

  private final Tokens tokens;
  private final LongSupplier nowMs;
  private final Set<EndingCall<?, ?>> streams = ConcurrentHashMap.newKeySet();

  /**
   * @param nowMs milliseconds since the epoch
   */
  public Authentication(Tokens tokens, LongSupplier nowMs) {
    this.tokens = tokens;
    this.nowMs = nowMs;
  }

  /** The roles that may call a method; none for one that nobody has thought about. */
  static Set<Role> rolesOf(MethodDescriptor<?, ?> method) {
    String service = String.valueOf(method.getServiceName());
    return switch (service) {
      case JobServiceGrpc.SERVICE_NAME, DatasetServiceGrpc.SERVICE_NAME ->
          EnumSet.of(Role.ADMIN, Role.USER);
      case WorkerServiceGrpc.SERVICE_NAME -> EnumSet.of(Role.ADMIN, Role.WORKER);
      case AdminServiceGrpc.SERVICE_NAME ->
          switch (String.valueOf(method.getBareMethodName())) {
            case "GetInfo" -> EnumSet.allOf(Role.class);
            case "ListWorkers" -> EnumSet.of(Role.ADMIN, Role.USER);
            default -> EnumSet.of(Role.ADMIN);
          };
      default -> EnumSet.noneOf(Role.class);
    };
  }

  @Override
  public <Q, A> ServerCall.Listener<Q> interceptCall(
      ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
    @Nullable String header = headers.get(Channels.AUTHORIZATION);
    Optional<Token> token = shown(header);
    Optional<Status> refusal = refusal(header, token, call.getMethodDescriptor());
    if (refusal.isPresent()) {
      call.close(refusal.get(), new Metadata());
      return new ServerCall.Listener<>() {};
    }
    String authority = call.getAuthority();
    Context context =
        Context.current()
            .withValues(
                HOST,
                hostOf(authority),
                AUTHORITY,
                authority == null ? "" : authority,
                TOKEN,
                token.orElseThrow());
    if (token.get().expiresAtMs() == 0
        || call.getMethodDescriptor().getType().serverSendsOneMessage()) {
      return Contexts.interceptCall(context, call, headers, next);
    }
    var ending = new EndingCall<>(call, token.get());
    streams.add(ending);
    return ending.heardBy(Contexts.interceptCall(context, ending, headers, next));
  }

  /** Ends the streams whose tokens have expired since they were opened. Any thread may call. */
  public void endExpired() {
    long now = nowMs.getAsLong();
    for (EndingCall<?, ?> stream : streams) {
      if (Tokens.isExpired(stream.token, now)) {
        stream.end(expired(stream.token));
      }
    }
  }

  /**
   * A stream that ends when its token does. Whoever sends on it learns so as if the caller had
   * cancelled; what is sent meanwhile is dropped.
   */
  private final class EndingCall<Q, A> extends SimpleForwardingServerCall<Q, A> {
    private final Token token;
    private final Object sending = new Object();
    private boolean closed;
    private volatile boolean expired;

    EndingCall(ServerCall<Q, A> call, Token token) {
      super(call);
      this.token = token;
    }

    void end(Status status) {
      streams.remove(this);
      synchronized (sending) {
        if (!closed) {
          closed = true;
          expired = true;
          super.close(status, new Metadata());
        }
      }
    }

    ServerCall.Listener<Q> heardBy(ServerCall.Listener<Q> listener) {
      return new SimpleForwardingServerCallListener<>(listener) {
        @Override
        public void onComplete() {
          streams.remove(EndingCall.this);
          if (expired) {
            super.onCancel();
          } else {
            super.onComplete();
          }
        }

        @Override
        public void onCancel() {
          streams.remove(EndingCall.this);
          super.onCancel();
        }
      };
    }

    @Override
    public void sendHeaders(Metadata headers) {
      synchronized (sending) {
        if (!expired) {
          super.sendHeaders(headers);
        }
      }
    }

    @Override
    public void sendMessage(A message) {
      synchronized (sending) {
        if (!expired) {
          super.sendMessage(message);
        }
      }
    }

    @Override
    public void close(Status status, Metadata trailers) {
      synchronized (sending) {
        if (!expired) {
          closed = true;
          super.close(status, trailers);
        }
      }
    }

    @Override
    public boolean isCancelled() {
      return expired || super.isCancelled();
    }
  }

  private Optional<Token> shown(@Nullable String header) {
    return header == null || !header.startsWith(BEARER)
        ? Optional.empty()
        : tokens.find(header.substring(BEARER.length()).strip());
  }

  private Optional<Status> refusal(
      @Nullable String header, Optional<Token> token, MethodDescriptor<?, ?> method) {
    if (header == null || !header.startsWith(BEARER)) {
      return Optional.of(
          Status.UNAUTHENTICATED.withDescription(
              "no token: send 'authorization: Bearer TOKEN' (BATON_TOKEN or the token file)"));
    }
    if (token.isEmpty()) {
      return Optional.of(
          Status.UNAUTHENTICATED.withDescription("this coordinator does not know the token"));
    }
    Token known = token.get();
    if (Tokens.isExpired(known, nowMs.getAsLong())) {
      return Optional.of(expired(known));
    }
    Set<Role> allowed = rolesOf(method);
    if (!allowed.contains(known.role())) {
      return Optional.of(
          Status.PERMISSION_DENIED.withDescription(
              "a token of role "
                  + Tokens.label(known.role())
                  + " cannot call "
                  + method.getBareMethodName()
                  + (allowed.isEmpty()
                      ? ""
                      : "; it takes role "
                          + String.join(" or ", allowed.stream().map(Tokens::label).toList()))));
    }
    return Optional.empty();
  }

  private static Status expired(Token token) {
    return Status.UNAUTHENTICATED.withDescription(
        "token "
            + token.id()
            + " expired at "
            + Instant.ofEpochMilli(token.expiresAtMs())
            + "; ask for a new one (baton token create)");
  }

  /** The host of HOST:PORT or HOST, an IPv6 one without its brackets; empty where there is none. */
  static String hostOf(@Nullable String authority) {
    if (authority == null) {
      return "";
    }
    int colon = authority.lastIndexOf(':');
    String host = colon < 0 || authority.endsWith("]") ? authority : authority.substring(0, colon);
    return host.startsWith("[") && host.endsWith("]") ? host.substring(1, host.length() - 1) : host;
  }
}
