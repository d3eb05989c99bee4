package dev.baton.coordinator.grpc;

import static org.assertj.core.api.Assertions.assertThat;

import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A reader's stream; what {@code onNext} gets while it is not ready piles up. */
final class FakeReader<E> extends ServerCallStreamObserver<E> {
  final List<E> got = new ArrayList<>();
  boolean ready = true;
  boolean cancelled;
  boolean completed;
  @Nullable Status error;

  @Override
  public void onNext(E event) {
    assertThat(error).as("nothing comes behind the end").isNull();
    assertThat(completed).as("nothing comes behind the end").isFalse();
    got.add(event);
  }

  @Override
  public void onError(Throwable thrown) {
    error = Status.fromThrowable(thrown);
  }

  @Override
  public void onCompleted() {
    completed = true;
  }

  @Override
  public boolean isReady() {
    return ready;
  }

  @Override
  public boolean isCancelled() {
    return cancelled;
  }

  @Override
  public void setOnCancelHandler(Runnable handler) {}

  @Override
  public void setCompression(String compression) {}

  @Override
  public void setOnReadyHandler(Runnable handler) {}

  @Override
  public void request(int count) {}

  @Override
  public void setMessageCompression(boolean enable) {}

  @Override
  public void disableAutoInboundFlowControl() {}
}
