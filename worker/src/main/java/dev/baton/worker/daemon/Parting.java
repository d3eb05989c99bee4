package dev.baton.worker.daemon;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.worker.lease.Coordinator;
import dev.baton.worker.lease.CoordinatorException;
import dev.baton.worker.lease.HeldLease;
import dev.baton.worker.lease.LeaseLoop;
import dev.baton.worker.lease.Loop;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * How a worker parts from its coordinator: it gives back what it does not take, and ends once its
 * last session has ended and nothing is being given back. Runs on the loop.
 */
final class Parting {
  private static final Logger log = LoggerFactory.getLogger(Parting.class);

  // For an answer that usually takes milliseconds; a lease given to nobody ends by itself.
  private static final long LAST_OFFERS_NANOS = 2_000_000_000L;

  private final Coordinator coordinator;
  private final LeaseLoop leaseLoop;
  private final Loop loop;
  private final Executor io;
  private final CompletableFuture<@Nullable Void> ended = new CompletableFuture<>();
  private boolean wanted;
  private boolean begun;
  private boolean sessionOver;
  private int givingBack;

  Parting(Coordinator coordinator, LeaseLoop leaseLoop, Loop loop, Executor io) {
    this.coordinator = coordinator;
    this.leaseLoop = leaseLoop;
    this.loop = loop;
    this.io = io;
  }

  /** Completed when the worker has ended; exceptionally where it was refused. */
  CompletableFuture<@Nullable Void> ended() {
    return ended;
  }

  /** The worker is to end once it has no job; false where that is known. */
  boolean want() {
    boolean first = !wanted;
    wanted = true;
    return first;
  }

  boolean isWanted() {
    return wanted;
  }

  /** The worker has no job any more. */
  void begin() {
    if (begun) {
      return;
    }
    begun = true;
    // An offer may be on its way that was made before the coordinator heard of the leaving.
    leaseLoop.stop(
        LAST_OFFERS_NANOS,
        () -> {
          sessionOver = true;
          endIfNothingIsLeft();
          loop.schedule(LAST_OFFERS_NANOS, () -> ended.complete(null));
        });
  }

  /** The coordinator will not have this worker. */
  void refused(CoordinatorException why) {
    ended.completeExceptionally(why);
  }

  private void endIfNothingIsLeft() {
    if (sessionOver && givingBack == 0) {
      ended.complete(null);
    }
  }

  /** Ends a lease that no run holds any more. */
  void giveBack(HeldLease lease, AttemptOutcome outcome, String why) {
    log.warn("{}: given back: {}", lease, why);
    FinishAttemptRequest request =
        FinishAttemptRequest.newBuilder()
            .setLease(lease.ref())
            .setOutcome(outcome)
            .setMessage(why)
            .build();
    givingBack++;
    io.execute(
        () -> {
          try {
            finish(lease, request);
          } catch (InterruptedException e) {
            log.debug("{}: giving back is given up", lease);
          } finally {
            loop.execute(
                () -> {
                  givingBack--;
                  endIfNothingIsLeft();
                });
          }
        });
  }

  // It is in no heartbeat any more, and ends by itself where this does not arrive in time.
  private void finish(HeldLease lease, FinishAttemptRequest request) throws InterruptedException {
    for (long wait = HeldLease.firstWait(); ; wait = HeldLease.nextWait(wait)) {
      try {
        coordinator.finishAttempt(request);
        return;
      } catch (CoordinatorException e) {
        if (e.kind() != CoordinatorException.Kind.TRY_AGAIN || lease.expired()) {
          log.info("{}: {}", lease, e.getMessage());
          return;
        }
      }
      Thread.sleep(wait);
    }
  }
}
