package dev.baton.coordinator.loop;

import dev.baton.coordinator.core.CoordinatorException;
import dev.baton.coordinator.core.Effect;
import dev.baton.coordinator.core.Now;
import dev.baton.coordinator.core.StoreException;
import dev.baton.coordinator.core.Transactions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BiFunction;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The one thread that changes anything. It takes commands in groups: begin, apply each to the core,
 * commit, and only then complete the replies and deliver the effects. While one group is being
 * fsynced the next gathers, so that 64 callers share a commit without anybody waiting for company.
 *
 * <p>A refusal ({@link CoordinatorException}) is one command's affair. Any other failure is the
 * group's: it is rolled back, every command in it fails, and the core is loaded anew, because
 * memory is but a cache of the database. An {@link Error} ends the process: it may have left memory
 * in any state, and what is on disk is enough to start anew.
 *
 * <p>Effects are delivered and replies completed on this thread, in the order of the commands, a
 * command's effects before its reply: who subscribes when the reply completes hears exactly what
 * came after what the reply says.
 *
 * @param <C> the core
 */
public final class CoreLoop<C> implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(CoreLoop.class);

  private static final int MAX_GROUP = 512;
  private static final long TICK_NANOS = Duration.ofMillis(50).toNanos();

  /** What the loop does with the core on its own account. */
  public interface Binding<C> {
    /** Loads what the database holds. */
    void start(C core, Now now);

    /** Loads it again after a transaction that failed; what was not taken of effects is dropped. */
    void reload(C core, Now now);

    /** Does what has come due. Within a transaction. */
    void tick(C core, Now now);

    /** What the core wants done outside since it was last asked. */
    List<Effect> takeEffects(C core);

    /** Does it; the transaction is on disk. */
    void deliver(Effect effect);
  }

  private record Command<C>(BiFunction<C, Now, ?> body, CompletableFuture<Object> reply) {}

  private record Outcome(
      CompletableFuture<Object> reply,
      @Nullable Object value,
      @Nullable CoordinatorException refusal,
      List<Effect> effects) {
    void complete() {
      if (refusal != null) {
        reply.completeExceptionally(refusal);
      } else {
        reply.complete(value);
      }
    }
  }

  private final Transactions transactions;
  private final C core;
  private final Binding<C> binding;
  private final Supplier<Now> clock;
  private final Runnable halt;
  private final LinkedBlockingQueue<Command<C>> queue = new LinkedBlockingQueue<>();
  private final LoopStats stats = new LoopStats();
  private final Thread thread;
  private volatile boolean closed;
  private volatile boolean ended;

  /**
   * Starts nothing yet.
   *
   * @param halt ends the process at once, when the thread cannot go on: without it the coordinator
   *     would only look alive
   */
  public CoreLoop(
      Transactions transactions, C core, Binding<C> binding, Supplier<Now> clock, Runnable halt) {
    this.transactions = transactions;
    this.core = core;
    this.binding = binding;
    this.clock = clock;
    this.halt = halt;
    thread = new Thread(this::run, "core");
  }

  /** Loads the core. Throws what the load throws. */
  public void load() {
    transactions.begin();
    binding.start(core, clock.get());
    transactions.commit();
    binding.takeEffects(core).forEach(this::deliver);
  }

  /** Begins to serve; {@link #load} came before. */
  public void start() {
    thread.start();
  }

  /** What the loop has done so far. */
  public LoopStats stats() {
    return stats;
  }

  /**
   * Runs a command in the next group. The reply completes once its group is on disk, with the
   * command's value, its {@link CoordinatorException}, a {@link StoreException}, or a {@link
   * StoppingException}.
   */
  @SuppressWarnings("unchecked") // The reply is completed with what the body returned.
  public <T> CompletableFuture<T> submit(BiFunction<C, Now, T> body) {
    var reply = new CompletableFuture<Object>();
    if (closed) {
      reply.completeExceptionally(new StoppingException());
    } else {
      queue.add(new Command<>(body, reply));
      if (ended) {
        failQueued();
      }
    }
    return (CompletableFuture<T>) reply;
  }

  /** Runs what is queued, then ends the thread. What comes later is refused. */
  @Override
  public void close() {
    closed = true;
    try {
      thread.join(TimeUnit.SECONDS.toMillis(4));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void failQueued() {
    for (Command<C> c = queue.poll(); c != null; c = queue.poll()) {
      c.reply().completeExceptionally(new StoppingException());
    }
  }

  private void run() {
    try {
      serve();
    } catch (Throwable e) {
      try {
        log.error("the core cannot go on: the coordinator ends; start it again", e);
      } finally {
        halt.run();
        closed = true;
        ended = true;
        failQueued();
      }
    }
  }

  private void serve() {
    var group = new ArrayList<Command<C>>(MAX_GROUP);
    long lastTick = clock.get().nanos();
    boolean trusted = true;
    while (true) {
      try {
        gather(group, lastTick);
      } catch (InterruptedException e) {
        log.warn("the core's thread was interrupted; it goes on");
      }
      if (closed && group.isEmpty() && queue.isEmpty()) {
        ended = true;
        failQueued();
        return;
      }
      Now now = clock.get();
      boolean tick = now.nanos() - lastTick >= TICK_NANOS;
      if (tick) {
        lastTick = now.nanos();
      }
      if (!trusted) {
        trusted = reload(now);
      }
      if (trusted) {
        trusted = runGroup(group, now, tick);
      } else {
        failGroup(group, new StoreException(false, "the coordinator's database failed", null));
      }
      group.clear();
    }
  }

  private void gather(List<Command<C>> group, long lastTick) throws InterruptedException {
    long wait = closed ? 0 : TICK_NANOS - (clock.get().nanos() - lastTick);
    Command<C> command = wait > 0 ? queue.poll(wait, TimeUnit.NANOSECONDS) : queue.poll();
    if (command != null) {
      group.add(command);
      queue.drainTo(group, MAX_GROUP - 1);
    }
  }

  /** False where the database cannot be read. */
  private boolean reload(Now now) {
    try {
      binding.reload(core, now);
      log.info("the core was loaded anew from the database");
      return true;
    } catch (RuntimeException e) {
      log.error("the core cannot be loaded; trying again", e);
      return false;
    }
  }

  /** False where the core is no longer to be trusted. */
  private boolean runGroup(List<Command<C>> group, Now now, boolean tick) {
    var outcomes = new ArrayList<Outcome>(group.size());
    List<Effect> tickEffects = List.of();
    try {
      transactions.begin();
      if (tick) {
        binding.tick(core, now);
        tickEffects = binding.takeEffects(core);
      }
      for (Command<C> command : group) {
        outcomes.add(apply(command, now));
      }
      transactions.commit();
    } catch (RuntimeException e) {
      if (e instanceof StoreException store && store.isNoSpace()) {
        log.error("a group of {} commands is rolled back: {}", group.size(), e.getMessage());
      } else {
        log.error("a group of {} commands failed and is rolled back", group.size(), e);
      }
      rollback();
      failGroup(group, e);
      return false;
    }
    stats.count(group.size());
    tickEffects.forEach(this::deliver);
    for (Outcome outcome : outcomes) {
      outcome.effects().forEach(this::deliver);
      complete(outcome);
    }
    return true;
  }

  private Outcome apply(Command<C> command, Now now) {
    Object value = null;
    CoordinatorException refusal = null;
    try {
      value = command.body().apply(core, now);
    } catch (CoordinatorException e) {
      refusal = e;
    }
    return new Outcome(command.reply(), value, refusal, binding.takeEffects(core));
  }

  private void deliver(Effect effect) {
    try {
      binding.deliver(effect);
    } catch (RuntimeException e) {
      log.error("not delivered: {}", effect, e);
    }
  }

  private static void complete(Outcome outcome) {
    try {
      outcome.complete();
    } catch (RuntimeException e) {
      log.error("a reply was not delivered", e);
    }
  }

  private void rollback() {
    try {
      transactions.rollback();
    } catch (RuntimeException e) {
      log.error("the rollback failed as well", e);
    }
  }

  private void failGroup(List<Command<C>> group, RuntimeException failure) {
    for (Command<C> command : group) {
      command.reply().completeExceptionally(failure);
    }
  }
}
