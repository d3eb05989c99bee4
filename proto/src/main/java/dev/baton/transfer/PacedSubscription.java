package dev.baton.transfer;

import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Flow;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * A body that is asked for more only when the {@link Bandwidth} allows it, so that nothing is
 * buffered and no thread of the HTTP client waits.
 */
final class PacedSubscription implements Flow.Subscription {
  private final Flow.Subscription source;
  private final Bandwidth bandwidth;
  private long waitNanos;

  PacedSubscription(Flow.Subscription source, Bandwidth bandwidth) {
    this.source = source;
    this.bandwidth = bandwidth;
  }

  /** A publisher whose subscribers get no more than the bandwidth allows. */
  static Flow.Publisher<ByteBuffer> pace(
      Flow.Publisher<ByteBuffer> publisher, Bandwidth bandwidth) {
    return subscriber -> publisher.subscribe(new Subscriber(subscriber, bandwidth));
  }

  /** Bytes have come; what is asked for next waits for them to be paid. */
  synchronized void moved(long bytes) {
    waitNanos = bandwidth.moved(bytes);
  }

  @Override
  public void request(long n) {
    long wait;
    synchronized (this) {
      wait = waitNanos;
      waitNanos = 0;
    }
    if (wait == 0) {
      source.request(n);
    } else {
      CompletableFuture.delayedExecutor(wait, TimeUnit.NANOSECONDS)
          .execute(() -> source.request(n));
    }
  }

  @Override
  public void cancel() {
    source.cancel();
  }

  private static final class Subscriber implements Flow.Subscriber<ByteBuffer> {
    private final Flow.Subscriber<? super ByteBuffer> target;
    private final Bandwidth bandwidth;
    private @Nullable PacedSubscription paced;

    Subscriber(Flow.Subscriber<? super ByteBuffer> target, Bandwidth bandwidth) {
      this.target = target;
      this.bandwidth = bandwidth;
    }

    @Override
    public void onSubscribe(Flow.Subscription source) {
      paced = new PacedSubscription(source, bandwidth);
      target.onSubscribe(paced);
    }

    @Override
    public void onNext(ByteBuffer bytes) {
      if (paced != null) {
        paced.moved(bytes.remaining());
      }
      target.onNext(bytes);
    }

    @Override
    public void onError(Throwable thrown) {
      target.onError(thrown);
    }

    @Override
    public void onComplete() {
      target.onComplete();
    }
  }
}
