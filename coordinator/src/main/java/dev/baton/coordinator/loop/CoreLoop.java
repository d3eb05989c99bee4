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
 * memory is but a cache of the database.
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
  // A clock found later than this was not ours to watch: leases may have been renewed in vain.
  private static final long LATE_NANOS = Duration.ofSeconds(1).toNanos();
  private static final long RELOAD_PAUSE_MS = 250;

  /** What the loop needs of the core. */
  public interface Binding<C> {
    /** A core with what the database holds; nothing is given away for one lease length. */
    C load(Now now);

    /** Does what has come due. Within a transaction. */
    void tick(C core, Now now);

    /** The clock was late by more than a second. Within a transaction. */
    void late(C core, Now now);

    /** What the core wants done outside since it was last asked. */
    List<Effect> takeEffects(C core);

    /** Does it; the transaction is on disk. */
    void deliver(Effect effect);

    /** The core was loaded anew: it knows no worker's session. */
    void forgetSessions();
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
  private final Binding<C> binding;
  private final Supplier<Now> clock;
  private final LinkedBlockingQueue<Command<C>> queue = new LinkedBlockingQueue<>();
  private final LoopStats stats = new LoopStats();
  private final Thread thread;
  private volatile boolean closed;

  /** Starts nothing yet. */
  public CoreLoop(Transactions transactions, Binding<C> binding, Supplier<Now> clock) {
    this.transactions = transactions;
    this.binding = binding;
    this.clock = clock;
    thread = new Thread(this::run, "core");
  }

  /** Loads the core and begins to serve. Throws what the load throws. */
  public void start() {
    first = binding.load(clock.get());
    thread.start();
  }

  private @Nullable C first;

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
    queue.add(new Command<>(body, reply));
    if (closed) {
      failQueued();
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
    C core = first;
    var group = new ArrayList<Command<C>>(MAX_GROUP);
    long lastTick = clock.get().nanos();
    while (true) {
      try {
        gather(group, lastTick);
      } catch (InterruptedException e) {
        log.warn("the core's thread was interrupted; it goes on");
      }
      if (closed && group.isEmpty() && queue.isEmpty()) {
        failQueued();
        return;
      }
      Now now = clock.get();
      long sinceTick = now.nanos() - lastTick;
      boolean tick = sinceTick >= TICK_NANOS;
      boolean late = sinceTick > TICK_NANOS + LATE_NANOS;
      if (tick) {
        lastTick = now.nanos();
      }
      if (core == null) {
        core = reload();
      }
      if (core == null) {
        failGroup(group, new StoreException(false, "the coordinator's database failed", null));
      } else if (!runGroup(core, group, now, tick, late)) {
        core = null;
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

  private @Nullable C reload() {
    try {
      C core = binding.load(clock.get());
      binding.forgetSessions();
      log.info("the core was loaded anew from the database");
      return core;
    } catch (RuntimeException e) {
      log.error("the core cannot be loaded; trying again", e);
      try {
        Thread.sleep(RELOAD_PAUSE_MS);
      } catch (InterruptedException interrupt) {
        Thread.currentThread().interrupt();
      }
      return null;
    }
  }

  /** False where the core is no longer to be trusted. */
  private boolean runGroup(C core, List<Command<C>> group, Now now, boolean tick, boolean late) {
    var outcomes = new ArrayList<Outcome>(group.size());
    List<Effect> tickEffects = List.of();
    try {
      transactions.begin();
      if (late) {
        log.warn("the clock was late by more than a second; no lease is given away for a while");
        binding.late(core, now);
      }
      if (tick) {
        binding.tick(core, now);
        tickEffects = binding.takeEffects(core);
      }
      for (Command<C> command : group) {
        outcomes.add(apply(core, command, now));
      }
      transactions.commit();
    } catch (RuntimeException e) {
      log.error("a group of {} commands failed and is rolled back", group.size(), e);
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

  private Outcome apply(C core, Command<C> command, Now now) {
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
