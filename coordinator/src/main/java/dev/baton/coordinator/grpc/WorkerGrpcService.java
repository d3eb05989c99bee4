package dev.baton.coordinator.grpc;

import dev.baton.coordinator.core.CoordinatorException;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.Upload;
import dev.baton.coordinator.loop.CoreLoop;
import dev.baton.v1.AppendLogRequest;
import dev.baton.v1.AppendLogResponse;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.BeginAttemptResponse;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CommitCheckpointResponse;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.CreateDownloadRequest;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.FinishAttemptResponse;
import dev.baton.v1.Hello;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.NewArtifact;
import dev.baton.v1.UploadTicket;
import dev.baton.v1.WorkerMessage;
import dev.baton.v1.WorkerServiceGrpc;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.jspecify.annotations.Nullable;

/** The workers' side of the contract. */
final class WorkerGrpcService extends WorkerServiceGrpc.WorkerServiceImplBase {
  private final CoreLoop<Scheduler> loop;
  private final Transfers transfers;
  private final SessionStreams streams;
  private final EventLog events;

  WorkerGrpcService(
      CoreLoop<Scheduler> loop, Transfers transfers, SessionStreams streams, EventLog events) {
    this.loop = loop;
    this.transfers = transfers;
    this.streams = streams;
    this.events = events;
  }

  @Override
  public StreamObserver<WorkerMessage> session(StreamObserver<CoordinatorMessage> responses) {
    var stream = (ServerCallStreamObserver<CoordinatorMessage>) responses;
    var session = new Session(stream);
    stream.setOnCancelHandler(session::ended);
    return session;
  }

  /**
   * One stream. gRPC calls it from one thread at a time; the response side is the core thread's.
   */
  private final class Session implements StreamObserver<WorkerMessage> {
    private final ServerCallStreamObserver<CoordinatorMessage> stream;
    private @Nullable Hello hello;

    Session(ServerCallStreamObserver<CoordinatorMessage> stream) {
      this.stream = stream;
    }

    @Override
    public void onNext(WorkerMessage message) {
      Hello known = hello;
      if (known == null) {
        if (message.hasHello()) {
          hello = message.getHello();
          open(message.getHello());
        } else {
          refuse("the first message of a session must be Hello");
        }
        return;
      }
      String worker = known.getWorkerId();
      long session = known.getSession();
      switch (message.getMessageCase()) {
        case HEARTBEAT ->
            tell((core, now) -> core.heartbeat(worker, session, message.getHeartbeat(), now));
        case PROGRESS ->
            tell((core, now) -> core.progress(worker, session, message.getProgress(), now));
        case DRAINING ->
            tell(
                (core, now) -> {
                  core.draining(worker, session, message.getDraining(), now);
                  events.tellOfWorker(
                      known.getName(),
                      "worker_draining",
                      message.getDraining().getReason(),
                      now.epochMs());
                });
        case GROUP_WAITING ->
            tell((core, now) -> core.groupWaiting(worker, session, message.getGroupWaiting(), now));
        case GROUP_BROKEN ->
            tell((core, now) -> core.groupBroken(worker, session, message.getGroupBroken(), now));
        case PROBE_RESULT ->
            tell((core, now) -> core.probeResult(worker, session, message.getProbeResult(), now));
        case HELLO -> refuse("Hello comes once, as the first message of a session");
        case MESSAGE_NOT_SET -> refuse("a message that this version does not know");
      }
    }

    private void open(Hello opening) {
      var unused =
          loop.submit(
                  (core, now) -> {
                    core.openSession(opening, now);
                    // Known before the core's Welcome is delivered.
                    streams.open(opening.getWorkerId(), opening.getSession(), stream);
                    events.tellOfWorker(
                        opening.getName(),
                        "worker_connected",
                        (opening.getSession() > 1 ? "again; " : "")
                            + "slots: "
                            + opening.getSlots()
                            + ", GPUs: "
                            + opening.getMachine().getGpusCount(),
                        now.epochMs());
                    return true;
                  })
              .whenComplete(
                  (opened, failure) -> {
                    if (failure != null) {
                      streams.closed(opening.getWorkerId(), opening.getSession(), stream);
                      stream.onError(GrpcErrors.translate(failure));
                      if (!(failure instanceof CoordinatorException)) {
                        // Memory may have it, the transaction has not.
                        tell(
                            (core, now) ->
                                core.closeSession(
                                    opening.getWorkerId(), opening.getSession(), now));
                      }
                    }
                  });
    }

    private void tell(Telling telling) {
      var unused =
          loop.submit(
                  (core, now) -> {
                    telling.tell(core, now);
                    return true;
                  })
              .whenComplete(
                  (told, failure) -> {
                    if (failure != null) {
                      end(GrpcErrors.translate(failure).getStatus());
                    }
                  });
    }

    private void refuse(String why) {
      Hello known = hello;
      Status status = Status.INVALID_ARGUMENT.withDescription(why);
      if (known == null) {
        stream.onError(status.asRuntimeException());
      } else {
        var unused =
            loop.submit(
                (core, now) -> {
                  end(status);
                  return true;
                });
      }
    }

    /** On the core's thread. */
    private void end(Status status) {
      Hello known = hello;
      if (known != null) {
        streams.close(known.getWorkerId(), known.getSession(), status);
      }
    }

    /**
     * @param last done on the core's thread, where the stream was still the session's
     */
    private void ended(Hello known, Runnable last) {
      var unused =
          loop.submit(
              (core, now) -> {
                if (streams.closed(known.getWorkerId(), known.getSession(), stream)) {
                  last.run();
                  core.closeSession(known.getWorkerId(), known.getSession(), now);
                  events.tellOfWorker(known.getName(), "worker_disconnected", "", now.epochMs());
                }
                return true;
              });
    }

    private void ended() {
      Hello known = hello;
      if (known != null) {
        ended(known, () -> {});
      }
    }

    @Override
    public void onError(Throwable broken) {
      ended();
    }

    @Override
    public void onCompleted() {
      Hello known = hello;
      if (known == null) {
        stream.onCompleted();
      } else {
        // Not here: the core's thread may be about to send.
        ended(known, stream::onCompleted);
      }
    }
  }

  /** A message of a session, told to the core. */
  @FunctionalInterface
  private interface Telling {
    void tell(Scheduler core, dev.baton.coordinator.core.Now now);
  }

  @Override
  public void beginAttempt(
      BeginAttemptRequest request, StreamObserver<BeginAttemptResponse> responses) {
    Replies.reply(
        responses,
        () ->
            loop.submit(
                (core, now) -> {
                  core.beginAttempt(request, now);
                  return BeginAttemptResponse.getDefaultInstance();
                }));
  }

  @Override
  public void createDownload(
      CreateDownloadRequest request, StreamObserver<DownloadTicket> responses) {
    Replies.reply(
        responses,
        () -> transfers.downloadTicket(loop.submit((core, now) -> core.download(request))));
  }

  @Override
  public void createUpload(CreateUploadRequest request, StreamObserver<UploadTicket> responses) {
    Replies.reply(
        responses,
        () ->
            sayIfRefused(
                request.getLease(),
                transfers.uploadTicket(
                    loop.submit((core, now) -> core.createUpload(request, now)))));
  }

  /** The worker tries again; meanwhile its job's user is to know. */
  private <T> CompletableFuture<T> sayIfRefused(LeaseRef lease, CompletableFuture<T> storing) {
    return storing.whenComplete(
        (done, failure) -> {
          Throwable cause = failure instanceof CompletionException ? failure.getCause() : failure;
          if (cause instanceof ObjectStoreException refused
              && refused.kind() == ObjectStoreException.Kind.NO_SPACE) {
            String why = String.valueOf(refused.getMessage());
            var unused =
                loop.submit(
                    (core, now) -> {
                      core.storageRefused(lease, why, now);
                      return true;
                    });
          }
        });
  }

  @Override
  public void commitCheckpoint(
      CommitCheckpointRequest request, StreamObserver<CommitCheckpointResponse> responses) {
    Replies.reply(
        responses,
        () ->
            verified(request.getLease(), request.getUpload())
                .thenCompose(
                    done -> loop.submit((core, now) -> core.commitCheckpoint(request, now)))
                .thenApply(
                    id -> CommitCheckpointResponse.newBuilder().setCheckpointId(id).build()));
  }

  @Override
  public void finishAttempt(
      FinishAttemptRequest request, StreamObserver<FinishAttemptResponse> responses) {
    Replies.reply(
        responses,
        () -> {
          var ready =
              request.getArtifactsList().stream()
                  .map(NewArtifact::getUpload)
                  .map(upload -> verified(request.getLease(), upload))
                  .toArray(CompletableFuture<?>[]::new);
          return CompletableFuture.allOf(ready)
              .thenCompose(
                  done ->
                      loop.submit(
                          (core, now) -> {
                            core.finishAttempt(request, now);
                            return FinishAttemptResponse.getDefaultInstance();
                          }));
        });
  }

  private CompletableFuture<Void> verified(LeaseRef lease, CompletedUpload completed) {
    CompletableFuture<Upload> upload =
        loop.submit((core, now) -> core.uploadOf(lease, completed.getUploadId()));
    return sayIfRefused(lease, upload.thenCompose(known -> transfers.verified(known, completed)));
  }

  @Override
  public void appendLog(AppendLogRequest request, StreamObserver<AppendLogResponse> responses) {
    Replies.reply(
        responses,
        () ->
            loop.submit((core, now) -> core.appendLog(request, now))
                .thenApply(next -> AppendLogResponse.newBuilder().setNextOffset(next).build()));
  }
}
