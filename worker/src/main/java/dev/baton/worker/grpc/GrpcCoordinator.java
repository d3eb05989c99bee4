package dev.baton.worker.grpc;

import dev.baton.rpc.Access;
import dev.baton.rpc.TrustProblems;
import dev.baton.v1.AdminServiceGrpc;
import dev.baton.v1.AppendLogRequest;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.BeginAttemptResponse;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CommitCheckpointResponse;
import dev.baton.v1.CoordinatorInfo;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.CreateDownloadRequest;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.FinishAttemptResponse;
import dev.baton.v1.GetInfoRequest;
import dev.baton.v1.UploadTicket;
import dev.baton.v1.WorkerMessage;
import dev.baton.v1.WorkerServiceGrpc;
import dev.baton.worker.lease.Coordinator;
import dev.baton.worker.lease.CoordinatorException;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.Optional;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** The coordinator over a gRPC channel that adds the token and the deadlines to its calls. */
public final class GrpcCoordinator implements Coordinator {
  private static final String TOKEN_CREATE = "baton token create";

  private final ManagedChannel channel;
  private final Access access;
  private final WorkerServiceGrpc.WorkerServiceStub streams;
  private final WorkerServiceGrpc.WorkerServiceBlockingStub calls;

  // Whether what is there has once been the coordinator, which may come back then.
  private volatile boolean known;

  /**
   * @param access by which the channel was opened
   */
  public GrpcCoordinator(ManagedChannel channel, Access access) {
    this.channel = channel;
    this.access = access;
    this.streams = WorkerServiceGrpc.newStub(channel);
    this.calls = WorkerServiceGrpc.newBlockingStub(channel);
  }

  @Override
  public void connectNow() {
    channel.resetConnectBackoff();
  }

  @Override
  public Session open(SessionListener listener) {
    Stream stream = new Stream(listener);
    var unused = streams.session(stream);
    return stream;
  }

  @Override
  public void beginAttempt(BeginAttemptRequest request) throws CoordinatorException {
    BeginAttemptResponse unused = call(() -> calls.beginAttempt(request));
  }

  @Override
  public DownloadTicket createDownload(CreateDownloadRequest request) throws CoordinatorException {
    return call(() -> calls.createDownload(request));
  }

  @Override
  public UploadTicket createUpload(CreateUploadRequest request) throws CoordinatorException {
    return call(() -> calls.createUpload(request));
  }

  @Override
  public void commitCheckpoint(CommitCheckpointRequest request) throws CoordinatorException {
    CommitCheckpointResponse unused = call(() -> calls.commitCheckpoint(request));
  }

  @Override
  public void finishAttempt(FinishAttemptRequest request) throws CoordinatorException {
    FinishAttemptResponse unused = call(() -> calls.finishAttempt(request));
  }

  @Override
  public long appendLog(AppendLogRequest request) throws CoordinatorException {
    return call(() -> calls.appendLog(request)).getNextOffset();
  }

  /** What it is, and how long the token that it is shown is valid. */
  public CoordinatorInfo info() throws CoordinatorException {
    return call(
        () ->
            AdminServiceGrpc.newBlockingStub(channel).getInfo(GetInfoRequest.getDefaultInstance()));
  }

  private <T> T call(Supplier<T> call) throws CoordinatorException {
    try {
      return call.get();
    } catch (StatusRuntimeException e) {
      throw translate(e);
    }
  }

  /** The one place where status codes get their meaning. */
  CoordinatorException translate(Throwable error) {
    Optional<String> notTrusted = TrustProblems.describe(error, access);
    if (notTrusted.isPresent()) {
      return new CoordinatorException(
          known ? CoordinatorException.Kind.TRY_AGAIN : CoordinatorException.Kind.NOT_ALLOWED,
          notTrusted.get(),
          error);
    }
    Status status = Status.fromThrowable(error);
    CoordinatorException.Kind kind =
        switch (status.getCode()) {
          case ABORTED -> CoordinatorException.Kind.TERM_OVER;
          case UNAVAILABLE,
              DEADLINE_EXCEEDED,
              RESOURCE_EXHAUSTED,
              CANCELLED,
              INTERNAL,
              UNKNOWN,
              OK ->
              CoordinatorException.Kind.TRY_AGAIN;
          case UNAUTHENTICATED, PERMISSION_DENIED -> CoordinatorException.Kind.NOT_ALLOWED;
          case NOT_FOUND -> CoordinatorException.Kind.NOT_FOUND;
          case FAILED_PRECONDITION -> CoordinatorException.Kind.PRECONDITION;
          case INVALID_ARGUMENT, ALREADY_EXISTS, OUT_OF_RANGE, UNIMPLEMENTED, DATA_LOSS ->
              CoordinatorException.Kind.REFUSED;
        };
    String description = status.getDescription();
    String message =
        description == null ? status.getCode().toString() : status.getCode() + ": " + description;
    return new CoordinatorException(
        kind,
        status.getCode() == Status.Code.UNAUTHENTICATED && !message.contains(TOKEN_CREATE)
            ? message + "; make a new one with '" + TOKEN_CREATE + " --role worker'"
            : message,
        error);
  }

  /** One session's stream, in both directions. */
  private final class Stream
      implements Session, ClientResponseObserver<WorkerMessage, CoordinatorMessage> {
    private final SessionListener listener;
    private @Nullable ClientCallStreamObserver<WorkerMessage> requests;

    Stream(SessionListener listener) {
      this.listener = listener;
    }

    @Override
    public void beforeStart(ClientCallStreamObserver<WorkerMessage> stream) {
      // Called by the thread that opens, before open() returns.
      requests = stream;
    }

    @Override
    public void send(WorkerMessage message) {
      if (requests != null) {
        requests.onNext(message);
      }
    }

    @Override
    public void finish() {
      if (requests != null) {
        requests.onCompleted();
      }
    }

    @Override
    public void cancel() {
      if (requests != null) {
        requests.cancel("the worker gives this session up", null);
      }
    }

    @Override
    public void onNext(CoordinatorMessage message) {
      known = true;
      listener.onMessage(message);
    }

    @Override
    public void onError(Throwable error) {
      listener.onEnd(translate(error));
    }

    @Override
    public void onCompleted() {
      listener.onEnd(
          new CoordinatorException(
              CoordinatorException.Kind.TRY_AGAIN, "the coordinator ended the session"));
    }
  }
}
