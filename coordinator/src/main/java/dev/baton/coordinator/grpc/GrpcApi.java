package dev.baton.coordinator.grpc;

import dev.baton.coordinator.auth.Tokens;
import dev.baton.coordinator.core.Effect;
import dev.baton.coordinator.core.ObjectStore;
import dev.baton.coordinator.core.Reads;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.TokenStore;
import dev.baton.coordinator.loop.CoreLoop;
import io.grpc.ServerBuilder;
import io.grpc.Status;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.Function;
import java.util.function.LongSupplier;

/** The services of baton.v1, and the streams that the core's effects go to. */
public final class GrpcApi {
  private final SessionStreams streams = new SessionStreams();
  private final Watchers watchers = new Watchers();
  private final EventLog events = new EventLog();
  private final LogFollowers followers = new LogFollowers();

  /**
   * What the services stand on.
   *
   * @param tokenStore of the connection that writes
   * @param blocking for work that waits: database reads, the object store
   * @param reports completes once an ended job's reports are among its artifacts
   */
  public record Parts(
      CoreLoop<Scheduler> loop,
      Tokens tokens,
      Authentication authentication,
      TokenStore tokenStore,
      Reads reads,
      ObjectStore objects,
      Executor blocking,
      UrlHost urlHost,
      CompletableFuture<Published> published,
      Function<String, CompletableFuture<Void>> reports) {}

  /**
   * Adds the services, behind their authentication.
   *
   * @param nowMs milliseconds since the epoch
   */
  public <T extends ServerBuilder<T>> T addTo(T server, Parts parts, LongSupplier nowMs) {
    CoreLoop<Scheduler> loop = parts.loop();
    events.started(nowMs.getAsLong());
    var transfers = new Transfers(loop, parts.objects(), parts.blocking(), parts.urlHost());
    return server
        .addService(
            new JobGrpcService(
                loop,
                transfers,
                watchers,
                events,
                followers,
                parts.reads(),
                parts.blocking(),
                parts.reports()))
        .addService(new DatasetGrpcService(loop, transfers, parts.reads(), parts.blocking()))
        .addService(
            new AdminGrpcService(
                loop, transfers, parts.tokenStore(), parts.tokens(), parts.published()))
        .addService(new WorkerGrpcService(loop, transfers, streams, events))
        .intercept(parts.authentication());
  }

  /** Sends what the core wants sent. On the core's thread. */
  public void deliver(Effect effect) {
    if (effect instanceof Effect.Send send) {
      streams.send(send.workerId(), send.session(), send.message());
    } else if (effect instanceof Effect.CloseSession close) {
      streams.close(
          close.workerId(), close.session(), Status.ABORTED.withDescription(close.reason()));
    } else if (effect instanceof Effect.Notify notify) {
      watchers.tell(notify.jobId(), notify.event());
      events.tell(notify.jobId(), notify.event());
    } else if (effect instanceof Effect.LogGrew grew) {
      followers.grew(grew.jobId());
    } else if (effect instanceof Effect.Ended ended) {
      watchers.end(ended.jobId());
      events.end(ended.jobId());
      followers.end(ended.jobId());
    }
  }

  /** Tells workers that the coordinator means to be back, and watchers to ask again. */
  public void sayRestarting() {
    streams.sayRestarting();
    Status restarts = Status.UNAVAILABLE.withDescription("the coordinator restarts; ask again");
    watchers.closeAll(restarts);
    events.closeAll(restarts);
  }

  /** How many workers' streams are open. Any thread may ask. */
  public int sessions() {
    return streams.size();
  }
}
