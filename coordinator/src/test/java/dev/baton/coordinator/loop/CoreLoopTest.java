package dev.baton.coordinator.loop;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.coordinator.core.CoordinatorException;
import dev.baton.coordinator.core.Effect;
import dev.baton.coordinator.core.Now;
import dev.baton.coordinator.core.StoreException;
import dev.baton.coordinator.core.Transactions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

final class CoreLoopTest {
  /** A core that counts, and a database that keeps the count of the last commit. */
  private static final class Counter {
    int value;
    final List<Effect> effects = new ArrayList<>();

    int add(int n) {
      value += n;
      effects.add(new Effect.LogGrew("job", value));
      return value;
    }
  }

  private final List<String> story = Collections.synchronizedList(new ArrayList<>());
  private volatile int stored;
  private volatile boolean failCommit;
  private volatile boolean failLoad;
  private final Counter core = new Counter();

  private final Transactions transactions =
      new Transactions() {
        @Override
        public void begin() {}

        @Override
        public void commit() {
          if (failCommit) {
            throw new StoreException(true, "no space left on the coordinator's disk", null);
          }
          stored = core.value;
        }

        @Override
        public void rollback() {
          story.add("rollback");
        }
      };

  private final CoreLoop.Binding<Counter> binding =
      new CoreLoop.Binding<>() {
        @Override
        public void start(Counter core, Now now) {
          reload(core, now);
        }

        @Override
        public void reload(Counter core, Now now) {
          if (failLoad) {
            throw new StoreException(false, "cannot read", null);
          }
          story.add("load " + stored);
          core.value = stored;
          core.effects.clear();
        }

        @Override
        public void tick(Counter core, Now now) {}

        @Override
        public List<Effect> takeEffects(Counter core) {
          var taken = List.copyOf(core.effects);
          core.effects.clear();
          return taken;
        }

        @Override
        public void deliver(Effect effect) {
          story.add("deliver " + ((Effect.LogGrew) effect).end());
        }
      };

  private final CoreLoop<Counter> loop =
      new CoreLoop<>(
          transactions,
          core,
          binding,
          () -> new Now(System.nanoTime(), 0),
          () -> story.add("halt"));

  @AfterEach
  void close() {
    loop.close();
  }

  private static <T> T get(CompletableFuture<T> reply) throws Exception {
    return reply.get(10, TimeUnit.SECONDS);
  }

  @Test
  void answersOnceTheGroupIsStored() throws Exception {
    loop.load();
    loop.start();
    int seen = get(loop.submit((core, now) -> core.add(2)).thenApply(value -> stored));
    assertThat(seen).isEqualTo(2);
  }

  @Test
  void deliversACommandsEffectsBeforeItsReplyAndInOrder() throws Exception {
    loop.load();
    loop.start();
    var latch = new CountDownLatch(1);
    // Holds the loop, so that the next two share a group.
    var first =
        loop.submit(
            (core, now) -> {
              awaitUninterruptibly(latch);
              return 0;
            });
    var one = loop.submit((core, now) -> core.add(1)).thenAccept(v -> story.add("reply " + v));
    var two = loop.submit((core, now) -> core.add(1)).thenAccept(v -> story.add("reply " + v));
    latch.countDown();
    get(CompletableFuture.allOf(first, one, two));
    assertThat(story).containsExactly("load 0", "deliver 1", "reply 1", "deliver 2", "reply 2");
    assertThat(loop.stats().largest()).isGreaterThanOrEqualTo(2);
  }

  private static void awaitUninterruptibly(CountDownLatch latch) {
    try {
      assertThat(latch.await(10, TimeUnit.SECONDS)).isTrue();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void aRefusalConcernsItsCommandAlone() throws Exception {
    loop.load();
    loop.start();
    var refused =
        loop.submit(
            (core, now) -> {
              throw new CoordinatorException(CoordinatorException.Kind.ABORTED, "over");
            });
    CompletableFuture<Integer> next = loop.submit((core, now) -> core.add(1));
    assertThat(get(next).intValue()).isEqualTo(1);
    assertThatThrownBy(() -> get(refused)).hasCauseInstanceOf(CoordinatorException.class);
    assertThat(story).containsExactly("load 0", "deliver 1");
  }

  @Test
  void aFailedCommitFailsTheGroupAndLoadsTheCoreAnew() throws Exception {
    loop.load();
    loop.start();
    get(loop.submit((core, now) -> core.add(1)));
    failCommit = true;
    var failed = loop.submit((core, now) -> core.add(10));
    assertThatThrownBy(() -> get(failed))
        .hasCauseInstanceOf(StoreException.class)
        .hasMessageContaining("no space left");
    failCommit = false;
    assertThat(get(retried())).isEqualTo(2);
    assertThat(story)
        .containsSubsequence("deliver 1", "rollback", "load 1", "deliver 2")
        .doesNotContain("deliver 11");
  }

  /** The tick may fail once more before the commit works again. */
  private CompletableFuture<Integer> retried() {
    return loop.submit((core, now) -> core.add(1)).exceptionallyCompose(failure -> retried());
  }

  @Test
  void aBugInACommandRollsItsGroupBack() throws Exception {
    loop.load();
    loop.start();
    var failed =
        loop.submit(
            (core, now) -> {
              core.add(5);
              throw new IllegalStateException("bug");
            });
    assertThatThrownBy(() -> get(failed)).hasCauseInstanceOf(IllegalStateException.class);
    CompletableFuture<Integer> next = loop.submit((core, now) -> core.add(1));
    assertThat(get(next).intValue()).isEqualTo(1);
  }

  @Test
  void anErrorEndsTheProcess() throws Exception {
    loop.load();
    loop.start();
    var unused =
        loop.submit(
            (core, now) -> {
              throw new OutOfMemoryError("played");
            });
    Awaitility.await()
        .atMost(Duration.ofSeconds(10))
        .untilAsserted(() -> assertThat(story).containsExactly("load 0", "halt"));
    Awaitility.await()
        .atMost(Duration.ofSeconds(10))
        .until(() -> loop.submit((core, now) -> 0).isCompletedExceptionally());
  }

  @Test
  void aDatabaseThatCannotBeReadFailsCommandsUntilItCan() throws Exception {
    loop.load();
    loop.start();
    failLoad = true;
    var bug =
        loop.submit(
            (core, now) -> {
              throw new IllegalStateException("bug");
            });
    assertThatThrownBy(() -> get(bug)).hasCauseInstanceOf(IllegalStateException.class);
    var refused = loop.submit((core, now) -> core.add(1));
    assertThatThrownBy(() -> get(refused)).hasCauseInstanceOf(StoreException.class);
    failLoad = false;
    assertThat(get(retried())).isEqualTo(1);
  }

  @Test
  void finishesWhatIsQueuedAndRefusesTheRest() throws Exception {
    loop.load();
    loop.start();
    var queued = new ArrayList<CompletableFuture<Integer>>();
    for (int i = 0; i < 2_000; i++) {
      queued.add(loop.submit((core, now) -> core.add(1)));
    }
    loop.close();
    assertThat(get(queued.get(1_999))).isEqualTo(2_000);
    assertThat(stored).isEqualTo(2_000);
    CompletableFuture<Integer> late = loop.submit((core, now) -> 0);
    assertThatThrownBy(() -> get(late)).hasCauseInstanceOf(StoppingException.class);
  }
}
