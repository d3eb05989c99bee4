package dev.baton.rpc;

import dev.baton.v1.DatasetServiceGrpc;
import dev.baton.v1.WorkerServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.ServerBuilder;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.time.Duration;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/** Opens channels to a coordinator, and gives a server the settings that fit them. */
public final class Channels {
  /** What the coordinator receives at most in one message. */
  public static final int MAX_MESSAGE_BYTES = 4 << 20;

  /** What its callers do: they trust it, and a long job has many metric points. */
  private static final int MAX_REPLY_BYTES = 256 << 20;

  /** {@code authorization: Bearer TOKEN}. */
  public static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  // A client pings after this much silence; grpc-java refuses less than 10 s on that side.
  private static final Duration CLIENT_KEEP_ALIVE = Duration.ofSeconds(10);
  // Shorter than the clients', or the server would hang up on them for pinging too often.
  private static final Duration PERMITTED_KEEP_ALIVE = Duration.ofSeconds(5);
  private static final Duration KEEP_ALIVE_TIMEOUT = Duration.ofSeconds(5);

  private static final Duration UNARY_DEADLINE = Duration.ofSeconds(10);
  private static final Duration LONG_DEADLINE = Duration.ofMinutes(10);
  // Calls in which the store may copy a large object.
  private static final Set<String> LONG_CALLS =
      Set.of(
          WorkerServiceGrpc.getCommitCheckpointMethod().getFullMethodName(),
          WorkerServiceGrpc.getFinishAttemptMethod().getFullMethodName(),
          DatasetServiceGrpc.getCommitDatasetMethod().getFullMethodName());

  private Channels() {}

  /**
   * A channel that trusts what the access says, names its token in each call, gives each unary call
   * that has no deadline the contract's, and notices a dead peer within 15 s. The caller shuts it
   * down.
   *
   * @throws IllegalArgumentException where the environment names a proxy that cannot be one
   */
  public static ManagedChannel open(Access access, Proxies proxies) {
    HostPort address = access.address();
    // Here, and not in each call.
    var unused = proxies.proxyFor(access.pin().tls(), address.host());
    return Grpc.newChannelBuilderForAddress(
            address.host(), address.port(), transportSecurity(access.pin()))
        .proxyDetector(proxies.detector(access.pin().tls()))
        .keepAliveTime(CLIENT_KEEP_ALIVE.toNanos(), TimeUnit.NANOSECONDS)
        .keepAliveTimeout(KEEP_ALIVE_TIMEOUT.toNanos(), TimeUnit.NANOSECONDS)
        .maxInboundMessageSize(MAX_REPLY_BYTES)
        .intercept(bearer(access.secret()), deadlines())
        .build();
  }

  /**
   * As the other, directly and to an address that is given apart from the token.
   *
   * @param hostPort as {@link HostPort#parse} reads it
   * @param token as {@link TokenText#parse} reads it
   * @throws IllegalArgumentException where the address or the token cannot be one
   */
  public static ManagedChannel open(String hostPort, String token) {
    return open(
        Access.of(TokenText.parse(token), Optional.of(HostPort.parse(hostPort)), false),
        Proxies.NONE);
  }

  // The one place that decides how connections are secured.
  private static ChannelCredentials transportSecurity(Pin pin) {
    if (!pin.tls()) {
      return InsecureChannelCredentials.create();
    }
    return pin.namesKey()
        ? TlsChannelCredentials.newBuilder().trustManager(PinnedTrust.everywhere(pin)).build()
        : TlsChannelCredentials.create();
  }

  /** Lets clients ping as {@link #open} makes them, finds dead ones likewise, limits messages. */
  public static <T extends ServerBuilder<T>> T configure(T server) {
    return server
        .permitKeepAliveTime(PERMITTED_KEEP_ALIVE.toNanos(), TimeUnit.NANOSECONDS)
        .permitKeepAliveWithoutCalls(true)
        .keepAliveTime(CLIENT_KEEP_ALIVE.toNanos(), TimeUnit.NANOSECONDS)
        .keepAliveTimeout(KEEP_ALIVE_TIMEOUT.toNanos(), TimeUnit.NANOSECONDS)
        .maxInboundMessageSize(MAX_MESSAGE_BYTES);
  }

  /** Names the token in each call: its secret, not the whole text. */
  public static ClientInterceptor bearer(String token) {
    Metadata headers = new Metadata();
    headers.put(AUTHORIZATION, "Bearer " + TokenText.parse(token).secret());
    return MetadataUtils.newAttachHeadersInterceptor(headers);
  }

  /** Gives each unary call without a deadline the one that the contract names. */
  public static ClientInterceptor deadlines() {
    return new ClientInterceptor() {
      @Override
      public <Q, R> ClientCall<Q, R> interceptCall(
          MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
        if (method.getType() != MethodType.UNARY || options.getDeadline() != null) {
          return next.newCall(method, options);
        }
        Duration deadline =
            LONG_CALLS.contains(method.getFullMethodName()) ? LONG_DEADLINE : UNARY_DEADLINE;
        return next.newCall(
            method, options.withDeadlineAfter(deadline.toNanos(), TimeUnit.NANOSECONDS));
      }
    };
  }
}
