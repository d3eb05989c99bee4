package dev.baton.worker.testing;

import dev.baton.worker.lease.Loop;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Comparator;
import java.util.PriorityQueue;
import java.util.Queue;

/** A loop whose time a test moves. One thread. */
public final class ManualLoop implements Loop {
  private record Timer(long at, long order, Runnable task) {}

  private final Queue<Runnable> ready = new ArrayDeque<>();
  private final PriorityQueue<Timer> timers =
      new PriorityQueue<>(Comparator.comparingLong(Timer::at).thenComparingLong(Timer::order));
  private final long base;
  // Since base, which may be close to where nanoTime overflows.
  private long elapsed;
  private long order;

  /** Begins anywhere: monotonic clocks do. */
  public ManualLoop(long base) {
    this.base = base;
  }

  @Override
  public long nanoTime() {
    return base + elapsed;
  }

  @Override
  public void execute(Runnable task) {
    ready.add(task);
  }

  @Override
  public void schedule(long delayNanos, Runnable task) {
    timers.add(new Timer(elapsed + delayNanos, order++, task));
  }

  /** Runs what is ready. */
  public void run() {
    Runnable task;
    while ((task = ready.poll()) != null) {
      task.run();
    }
  }

  /** Moves time, running what falls due on the way. */
  public void advance(Duration by) {
    long until = elapsed + by.toNanos();
    run();
    while (!timers.isEmpty() && timers.peek().at() <= until) {
      Timer timer = timers.remove();
      // After a jump it is overdue.
      elapsed = Math.max(elapsed, timer.at());
      timer.task().run();
      run();
    }
    elapsed = until;
  }

  /** Moves time without running anything: the process was stopped. */
  public void jump(Duration by) {
    elapsed += by.toNanos();
  }
}
