package dev.baton.coordinator.grpc;

import dev.baton.coordinator.core.CoordinatorException;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.StoreException;
import dev.baton.coordinator.loop.StoppingException;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.concurrent.CompletionException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The one place that turns failures into statuses. Text of unexpected ones stays on the server. */
final class GrpcErrors {
  private static final Logger log = LoggerFactory.getLogger(GrpcErrors.class);

  private GrpcErrors() {}

  static StatusRuntimeException translate(Throwable thrown) {
    Throwable failure = thrown;
    while (failure instanceof CompletionException && failure.getCause() != null) {
      failure = failure.getCause();
    }
    if (failure instanceof StatusRuntimeException status) {
      return status;
    }
    return statusOf(failure).asRuntimeException();
  }

  private static Status statusOf(Throwable failure) {
    String message = String.valueOf(failure.getMessage());
    if (failure instanceof CoordinatorException refusal) {
      Status status =
          switch (refusal.kind()) {
            case INVALID_ARGUMENT -> Status.INVALID_ARGUMENT;
            case NOT_FOUND -> Status.NOT_FOUND;
            case FAILED_PRECONDITION -> Status.FAILED_PRECONDITION;
            case PERMISSION_DENIED -> Status.PERMISSION_DENIED;
            case ABORTED -> Status.ABORTED;
          };
      return status.withDescription(message);
    }
    if (failure instanceof StoreException store) {
      return (store.isNoSpace() ? Status.RESOURCE_EXHAUSTED : Status.UNAVAILABLE)
          .withDescription(message);
    }
    if (failure instanceof ObjectStoreException store) {
      Status status =
          switch (store.kind()) {
            case MISMATCH -> Status.FAILED_PRECONDITION;
            case NO_SPACE -> Status.RESOURCE_EXHAUSTED;
            case UNAVAILABLE -> Status.UNAVAILABLE;
          };
      return status.withDescription(message);
    }
    if (failure instanceof StoppingException) {
      return Status.UNAVAILABLE.withDescription(message);
    }
    log.error("a call failed", failure);
    return Status.INTERNAL.withDescription(
        "a bug in the coordinator; its log says more (" + failure.getClass().getSimpleName() + ")");
  }
}
