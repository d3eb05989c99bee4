package dev.baton.worker.daemon;

import dev.baton.v1.Progress;
import dev.baton.worker.lease.HeldLease;
import dev.baton.worker.lease.Loop;
import dev.baton.worker.process.StallWatch;
import dev.baton.worker.process.TrainerProcess;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Looks after a trainer that ought to make steps: one that makes none is killed and leaves its
 * stacks in its log; one whose lease has run out is paused, and not to be blamed. Runs on the loop.
 */
final class Watchdog {
  private static final Logger log = LoggerFactory.getLogger(Watchdog.class);

  private static final long DUMP_NANOS = 1_000_000_000L;

  private final Loop loop;
  private final StallWatch watch;
  private boolean paused;
  private @Nullable String stall;

  /**
   * @param stallNanos without a step for at least so long, a trainer may count as stalled
   */
  Watchdog(Loop loop, long stallNanos) {
    this.loop = loop;
    this.watch = new StallWatch(stallNanos, loop.nanoTime());
  }

  /** Counts from now on. */
  void restart() {
    watch.restart(loop.nanoTime());
  }

  /** The trainer reports. */
  void report(Progress progress) {
    watch.report(progress.getStep(), progress.getPhase().isEmpty(), loop.nanoTime());
  }

  /** The lease counts for longer. */
  void renewed(HeldLease lease) {
    if (paused) {
      paused = false;
      log.info("{}: goes on", lease);
      restart();
    }
  }

  /** What was found, where it has killed. */
  Optional<String> stall() {
    return Optional.ofNullable(stall);
  }

  /**
   * To be called once a second while the trainer ought to make steps.
   *
   * @param alone whether its steps are its own affair; others may be what a gang's member waits for
   */
  void check(HeldLease lease, TrainerProcess trainer, boolean alone) {
    if (stall != null) {
      return;
    }
    if (lease.expired()) {
      if (!paused) {
        paused = true;
        log.warn("{}: the coordinator does not answer; paused until it does", lease);
      }
      restart();
      return;
    }
    if (!alone) {
      restart();
      return;
    }
    if (watch.stalled(loop.nanoTime())) {
      stall =
          String.format(
              Locale.ROOT,
              "no step for %.0f s (the median step takes %.3f s); the log ends with the trainer's"
                  + " stacks",
              watch.limitNanos() / 1e9,
              watch.medianNanos() / 1e9);
      log.error("{}: {}", lease, stall);
      trainer.dumpStacks();
      loop.schedule(DUMP_NANOS, trainer::kill);
    }
  }
}
