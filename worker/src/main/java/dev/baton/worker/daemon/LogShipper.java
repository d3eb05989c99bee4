package dev.baton.worker.daemon;

import com.google.protobuf.ByteString;
import dev.baton.v1.AppendLogRequest;
import dev.baton.worker.lease.Coordinator;
import dev.baton.worker.lease.CoordinatorException;
import dev.baton.worker.lease.HeldLease;
import dev.baton.worker.process.TrainerLog;
import java.io.IOException;
import java.time.Duration;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Sends what a trainer prints to the coordinator, in order, in pieces of a second or 64 KiB; after
 * an outage it goes on where the coordinator has got to. Has a thread of its own.
 */
final class LogShipper {
  private static final Logger log = LoggerFactory.getLogger(LogShipper.class);

  private static final int PIECE_BYTES = 256 << 10;
  private static final int EAGER_BYTES = 64 << 10;
  private static final long BATCH_MILLIS = 1_000;
  private static final long POLL_MILLIS = 100;

  private final Coordinator coordinator;
  private final HeldLease lease;
  private final TrainerLog source;
  private final long base;
  private final Thread thread;
  // Since base: offsets count from the term's first byte.
  private long shipped;
  private boolean ended;
  private boolean flushing;

  /**
   * @param base where in the trainer's output the term's log begins; what comes before was sent in
   *     an earlier term, or by another rank
   */
  LogShipper(Coordinator coordinator, HeldLease lease, TrainerLog source, long base) {
    this.coordinator = coordinator;
    this.lease = lease;
    this.source = source;
    this.base = base;
    this.thread = new Thread(this::run, "log-" + lease.ref().getJobId());
    this.thread.setDaemon(true);
  }

  void start() {
    thread.start();
  }

  /** Gives up what has not been sent. */
  void stop() {
    thread.interrupt();
  }

  /** How much of the trainer's output has arrived, in this term and before. */
  synchronized long position() {
    return base + shipped;
  }

  /**
   * Waits until everything printed up to now has arrived, or cannot: the term is over, the
   * coordinator refuses it, or it takes longer than the limit.
   */
  synchronized void flush(Duration limit) throws InterruptedException {
    long goal = source.bytes() - base;
    long until = System.nanoTime() + limit.toNanos();
    flushing = true;
    notifyAll();
    long left = limit.toMillis();
    while (!ended && shipped < goal && left > 0) {
      wait(left);
      left = (until - System.nanoTime()) / 1_000_000L;
    }
    flushing = false;
  }

  private void run() {
    try {
      while (true) {
        awaitWork();
        long from = shipped();
        byte[] data = source.read(base + from, PIECE_BYTES);
        if (data.length == 0) {
          continue;
        }
        AppendLogRequest request =
            AppendLogRequest.newBuilder()
                .setLease(lease.ref())
                .setOffset(from)
                .setData(ByteString.copyFrom(data))
                .build();
        shipped(lease.whileItLasts(() -> coordinator.appendLog(request)));
      }
    } catch (CoordinatorException e) {
      if (e.kind() != CoordinatorException.Kind.TERM_OVER) {
        log.warn("{}: the rest of its log stays here: {}", lease, e.getMessage());
      }
    } catch (IOException e) {
      log.warn("{}: its log cannot be read: {}", lease, e.getMessage());
    } catch (InterruptedException e) {
      // stop()
    } finally {
      synchronized (this) {
        ended = true;
        notifyAll();
      }
    }
  }

  private void awaitWork() throws InterruptedException {
    long waited = 0;
    synchronized (this) {
      while (true) {
        long behind = source.bytes() - base - shipped;
        if (behind > 0 && (flushing || behind >= EAGER_BYTES || waited >= BATCH_MILLIS)) {
          return;
        }
        // Woken by flush(); looks at the size now and then besides.
        wait(POLL_MILLIS);
        waited += POLL_MILLIS;
      }
    }
  }

  private synchronized long shipped() {
    return shipped;
  }

  private synchronized void shipped(long offset) {
    shipped = offset;
    notifyAll();
  }
}
