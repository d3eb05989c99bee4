package dev.baton.worker.daemon;

import dev.baton.transfer.ObjectTransfer;
import dev.baton.worker.lease.Coordinator;
import dev.baton.worker.lease.HeldLease;
import dev.baton.worker.process.TrainerProcess;
import java.util.Optional;
import java.util.concurrent.Executor;

/** Makes what tells the coordinator, for each lease anew. */
final class Outboxes {
  private final Coordinator coordinator;
  private final ObjectTransfer transfer;
  private final Executor events;

  /**
   * @param events calls the listeners
   */
  Outboxes(Coordinator coordinator, ObjectTransfer transfer, Executor events) {
    this.coordinator = coordinator;
    this.transfer = transfer;
    this.events = events;
  }

  /**
   * Makes what ships the log.
   *
   * @param from where in the trainer's output the term's log begins
   */
  LogShipper logs(HeldLease lease, TrainerProcess trainer, long from) {
    return new LogShipper(coordinator, lease, trainer.output(), from);
  }

  AttemptOutbox outbox(
      HeldLease lease, Optional<LogShipper> logs, AttemptOutbox.Listener listener) {
    return new AttemptOutbox(coordinator, transfer, lease, logs, events, listener);
  }
}
