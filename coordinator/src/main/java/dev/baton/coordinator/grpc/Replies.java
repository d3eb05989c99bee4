package dev.baton.coordinator.grpc;

import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/** Answers unary calls. */
final class Replies {
  private Replies() {}

  /**
   * Sends what the future yields, or its failure; a failure to make the future counts as its own.
   */
  static <A> void reply(StreamObserver<A> observer, Supplier<CompletableFuture<A>> call) {
    if (observer instanceof ServerCallStreamObserver<A> stream) {
      // With a handler, an answer to a caller who has gone is dropped; without, it throws.
      stream.setOnCancelHandler(() -> {});
    }
    CompletableFuture<A> future;
    try {
      future = call.get();
    } catch (RuntimeException e) {
      observer.onError(GrpcErrors.translate(e));
      return;
    }
    var unused =
        future.whenComplete(
            (answer, failure) -> {
              if (failure != null) {
                observer.onError(GrpcErrors.translate(failure));
              } else {
                observer.onNext(answer);
                observer.onCompleted();
              }
            });
  }
}
