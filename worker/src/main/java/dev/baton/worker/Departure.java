package dev.baton.worker;

import dev.baton.worker.daemon.WorkerDaemon;
import dev.baton.worker.leaving.ExitReason;
import dev.baton.worker.leaving.PresenceWatch;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Has the daemon work, rest and leave, and remembers why it left first. */
final class Departure implements PresenceWatch.Worker {
  private static final Logger log = LoggerFactory.getLogger(Departure.class);

  private final WorkerDaemon daemon;
  private final AtomicReference<Left> first = new AtomicReference<>();

  private record Left(ExitReason exit, String reason) {}

  Departure(WorkerDaemon daemon) {
    this.daemon = daemon;
  }

  /** Why it leaves, if it does. */
  Optional<ExitReason> exitReason() {
    return Optional.ofNullable(first.get()).map(Left::exit);
  }

  /** What somebody has to mend before it can come back; empty where it left for another reason. */
  Optional<String> refusal() {
    return Optional.ofNullable(first.get())
        .filter(left -> left.exit() == ExitReason.REFUSED)
        .map(Left::reason);
  }

  @Override
  public boolean busy() {
    return !daemon.leases().isEmpty();
  }

  @Override
  public void finish(String reason) {
    daemon.finish(reason);
  }

  @Override
  public void rest(String reason) {
    daemon.rest(reason);
  }

  @Override
  public void work() {
    daemon.work();
  }

  /** Any thread may call it. */
  @Override
  public void leave(ExitReason exit, String reason) {
    if (first.compareAndSet(null, new Left(exit, reason))) {
      log.info("leaving ({}): {}", exit.word(), reason);
      daemon.leave(reason);
    }
  }
}
