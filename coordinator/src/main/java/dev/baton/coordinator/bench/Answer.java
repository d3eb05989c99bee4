package dev.baton.coordinator.bench;

import io.grpc.stub.StreamObserver;
import java.util.function.Consumer;

/** Goes on with the answer of a unary call. A failure is printed: the figures then miss it. */
record Answer<A>(Consumer<A> then) implements StreamObserver<A> {
  @Override
  public void onNext(A answer) {
    then.accept(answer);
  }

  @Override
  public void onError(Throwable failure) {
    System.err.println("a call failed: " + failure.getMessage());
  }

  @Override
  public void onCompleted() {}
}
