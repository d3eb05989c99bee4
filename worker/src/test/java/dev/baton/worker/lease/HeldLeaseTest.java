package dev.baton.worker.lease;

import static dev.baton.worker.testing.Eventually.await;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.v1.LeaseRef;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class HeldLeaseTest {
  private final AtomicLong now = new AtomicLong(0);
  private final HeldLease lease =
      new HeldLease(LeaseRef.newBuilder().setJobId("j").setTerm(3).build(), 100, now::get);
  private final AtomicInteger calls = new AtomicInteger();

  @Test
  void nothingIsWrittenAfterTheDeadlineUntilItIsRenewed() throws Exception {
    now.set(100);
    Thread[] writer = new Thread[1];
    CompletableFuture<Integer> written = new CompletableFuture<>();
    writer[0] = new Thread(() -> complete(written));
    writer[0].start();
    await("it waits", () -> writer[0].getState() == Thread.State.WAITING);
    assertThat(calls).hasValue(0);
    lease.renew(200);
    assertThat(written.get()).isEqualTo(1);
  }

  @Test
  void whoWaitsLearnsThatTheTermIsOver() throws Exception {
    now.set(100);
    CompletableFuture<Integer> written = new CompletableFuture<>();
    Thread writer = new Thread(() -> complete(written));
    writer.start();
    await("it waits", () -> writer.getState() == Thread.State.WAITING);
    lease.end();
    assertThatThrownBy(written::get)
        .isInstanceOf(ExecutionException.class)
        .cause()
        .hasMessage("term 3 of job j is over");
    assertThat(calls).hasValue(0);
  }

  @Test
  void aCallIsMadeAgainWhileThatCanHelp() throws Exception {
    int result =
        lease.whileItLasts(
            () -> {
              if (calls.incrementAndGet() < 2) {
                throw new CoordinatorException(CoordinatorException.Kind.TRY_AGAIN, "busy");
              }
              return calls.get();
            });
    assertThat(result).isEqualTo(2);
  }

  @Test
  void aRefusalIsFinal() {
    assertThatThrownBy(
            () ->
                lease.whileItLasts(
                    () -> {
                      calls.incrementAndGet();
                      throw new CoordinatorException(CoordinatorException.Kind.REFUSED, "no");
                    }))
        .hasMessage("no");
    assertThat(calls).hasValue(1);
  }

  @Test
  void theDeadlineNeverMovesBack() {
    lease.renew(50);
    assertThat(lease.deadlineNanos()).isEqualTo(100);
  }

  private void complete(CompletableFuture<Integer> written) {
    try {
      written.complete(lease.whileItLasts(calls::incrementAndGet));
    } catch (CoordinatorException | InterruptedException e) {
      written.completeExceptionally(e);
    }
  }
}
