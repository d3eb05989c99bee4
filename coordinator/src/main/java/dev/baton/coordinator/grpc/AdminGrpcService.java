package dev.baton.coordinator.grpc;

import dev.baton.coordinator.auth.Tokens;
import dev.baton.coordinator.core.CoordinatorException;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.Token;
import dev.baton.coordinator.core.TokenStore;
import dev.baton.coordinator.loop.CoreLoop;
import dev.baton.rpc.TokenText;
import dev.baton.rpc.Version;
import dev.baton.v1.AdminServiceGrpc;
import dev.baton.v1.CoordinatorInfo;
import dev.baton.v1.CreateTokenRequest;
import dev.baton.v1.CreateTokenResponse;
import dev.baton.v1.DrainWorkerRequest;
import dev.baton.v1.GetInfoRequest;
import dev.baton.v1.ListWorkersRequest;
import dev.baton.v1.ListWorkersResponse;
import dev.baton.v1.PresignedRequest;
import dev.baton.v1.WorkerInfo;
import io.grpc.stub.StreamObserver;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/** Workers and tokens. */
final class AdminGrpcService extends AdminServiceGrpc.AdminServiceImplBase {
  private static final long MAX_TTL_SECONDS = 100L * 366 * 24 * 3600;

  private final CoreLoop<Scheduler> loop;
  private final Transfers transfers;
  private final TokenStore store;
  private final Tokens tokens;
  private final CompletableFuture<Published> published;

  /**
   * @param store of the connection that writes
   * @param published what tokens say of this coordinator, once it listens
   */
  AdminGrpcService(
      CoreLoop<Scheduler> loop,
      Transfers transfers,
      TokenStore store,
      Tokens tokens,
      CompletableFuture<Published> published) {
    this.loop = loop;
    this.transfers = transfers;
    this.store = store;
    this.tokens = tokens;
    this.published = published;
  }

  @Override
  public void listWorkers(
      ListWorkersRequest request, StreamObserver<ListWorkersResponse> responses) {
    Replies.reply(
        responses,
        () ->
            loop.submit((core, now) -> core.workers())
                .thenApply(
                    workers -> ListWorkersResponse.newBuilder().addAllWorkers(workers).build()));
  }

  @Override
  public void drainWorker(DrainWorkerRequest request, StreamObserver<WorkerInfo> responses) {
    Replies.reply(
        responses, () -> loop.submit((core, now) -> core.drainWorker(request.getWorker(), now)));
  }

  @Override
  public void getInfo(GetInfoRequest request, StreamObserver<CoordinatorInfo> responses) {
    Replies.reply(
        responses,
        () -> {
          Token shown = Authentication.TOKEN.get();
          String authority = Authentication.AUTHORITY.get();
          PresignedRequest probe = transfers.probe();
          return loop.submit((core, now) -> now.epochMs())
              .thenCombine(
                  published,
                  (nowMs, known) ->
                      CoordinatorInfo.newBuilder()
                          .setVersion(Version.OF_THIS)
                          .setProtocol(Scheduler.PROTOCOL)
                          .setTimeMs(nowMs)
                          .setTokenId(shown.id())
                          .setRole(Tokens.label(shown.role()))
                          .setTokenExpiresAtMs(shown.expiresAtMs())
                          .setHttpUrl(known.httpUrl(authority))
                          .setProbe(probe)
                          .build());
        });
  }

  @Override
  public void createToken(
      CreateTokenRequest request, StreamObserver<CreateTokenResponse> responses) {
    Replies.reply(
        responses,
        () -> {
          Token.Role role =
              Tokens.role(request.getRole())
                  .orElseThrow(
                      () ->
                          invalid(
                              "role: '"
                                  + request.getRole()
                                  + "' is no role; it is admin, user or worker"));
          long ttl = request.getTtlSeconds();
          if (ttl < 0 || ttl > MAX_TTL_SECONDS) {
            throw invalid("ttl_seconds: must lie between 0 (never expires) and " + MAX_TTL_SECONDS);
          }
          String authority = Authentication.AUTHORITY.get();
          return loop.submit(
                  (core, now) -> {
                    Tokens.NewToken made =
                        Tokens.create(
                            role, now.epochMs(), ttl == 0 ? 0 : now.epochMs() + ttl * 1_000);
                    store.insert(made.stored());
                    return made;
                  })
              .thenCombine(
                  published,
                  (made, known) -> {
                    tokens.add(made.stored());
                    var origin = Optional.of(known.origin(authority));
                    return CreateTokenResponse.newBuilder()
                        .setToken(new TokenText(made.text(), origin).text())
                        .setHttpUrl(known.httpUrl(authority))
                        .setId(made.stored().id())
                        .setRole(Tokens.label(role))
                        .setExpiresAtMs(made.stored().expiresAtMs())
                        .build();
                  });
        });
  }

  private static CoordinatorException invalid(String message) {
    return new CoordinatorException(CoordinatorException.Kind.INVALID_ARGUMENT, message);
  }
}
