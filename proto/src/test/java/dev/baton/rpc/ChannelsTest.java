package dev.baton.rpc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.v1.AdminServiceGrpc;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CommitCheckpointResponse;
import dev.baton.v1.CreateTokenRequest;
import dev.baton.v1.CreateTokenResponse;
import dev.baton.v1.ListWorkersRequest;
import dev.baton.v1.ListWorkersResponse;
import dev.baton.v1.WorkerServiceGrpc;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class ChannelsTest {
  private final List<String> authorizations = new CopyOnWriteArrayList<>();
  private final List<Long> deadlines = new CopyOnWriteArrayList<>();
  private Server server = start();
  private ManagedChannel channel = Channels.open("127.0.0.1:1", "unused");

  private Server start() {
    return Channels.configure(
            NettyServerBuilder.forAddress(
                new InetSocketAddress(InetAddress.getLoopbackAddress(), 0)))
        .addService(
            new AdminServiceGrpc.AdminServiceImplBase() {
              @Override
              public void listWorkers(
                  ListWorkersRequest request, StreamObserver<ListWorkersResponse> out) {
                reply(ListWorkersResponse.getDefaultInstance(), out);
              }

              @Override
              public void createToken(
                  CreateTokenRequest request, StreamObserver<CreateTokenResponse> out) {
                reply(CreateTokenResponse.getDefaultInstance(), out);
              }
            })
        .addService(
            new WorkerServiceGrpc.WorkerServiceImplBase() {
              @Override
              public void commitCheckpoint(
                  CommitCheckpointRequest request, StreamObserver<CommitCheckpointResponse> out) {
                reply(CommitCheckpointResponse.getDefaultInstance(), out);
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
        .build();
  }

  private <T> void reply(T message, StreamObserver<T> out) {
    Deadline deadline = Context.current().getDeadline();
    deadlines.add(deadline == null ? -1 : deadline.timeRemaining(TimeUnit.SECONDS));
    out.onNext(message);
    out.onCompleted();
  }

  @BeforeEach
  void connect() throws Exception {
    server.start();
    channel.shutdownNow();
    channel = Channels.open("127.0.0.1:" + server.getPort(), "baton-token");
  }

  @AfterEach
  void stop() {
    channel.shutdownNow();
    server.shutdownNow();
  }

  @Test
  void callsNameTheTokenAndHaveTheContractsDeadlines() {
    AdminServiceGrpc.newBlockingStub(channel).listWorkers(ListWorkersRequest.getDefaultInstance());
    assertThat(authorizations).containsExactly("Bearer baton-token");
    assertThat(deadlines.get(0)).isBetween(5L, 10L);

    WorkerServiceGrpc.newBlockingStub(channel)
        .commitCheckpoint(CommitCheckpointRequest.getDefaultInstance());
    assertThat(deadlines.get(1)).isBetween(590L, 600L);

    AdminServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(60, TimeUnit.SECONDS)
        .listWorkers(ListWorkersRequest.getDefaultInstance());
    assertThat(deadlines.get(2)).isBetween(50L, 60L);
  }

  @Test
  void aMessageBeyondTheLimitIsRefused() {
    CreateTokenRequest large =
        CreateTokenRequest.newBuilder().setRole("x".repeat(Channels.MAX_MESSAGE_BYTES + 1)).build();
    assertThatThrownBy(() -> AdminServiceGrpc.newBlockingStub(channel).createToken(large))
        .isInstanceOfSatisfying(
            StatusRuntimeException.class,
            e -> assertThat(e.getStatus().getCode()).isEqualTo(Status.Code.RESOURCE_EXHAUSTED));
  }

  @Test
  void aTokenThatCannotBeOneIsRefusedAtOnce() {
    assertThatThrownBy(() -> Channels.open("127.0.0.1:1", "")).hasMessage("the token is empty");
    assertThatThrownBy(() -> Channels.open("127.0.0.1:1", "a bc"))
        .hasMessageContaining("the token holds a blank");
  }
}
