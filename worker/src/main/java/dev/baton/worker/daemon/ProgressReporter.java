package dev.baton.worker.daemon;

import dev.baton.v1.LeaseRef;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.StepProgress;
import dev.baton.worker.lease.Loop;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Passes on what a trainer says of its progress: at once the first time, then five times a second
 * at most; nothing before the coordinator knows that the attempt has begun. Of a rank other than 0
 * its own part alone, once a second at most. Runs on the loop.
 */
final class ProgressReporter {
  private static final long PROGRESS_NANOS = 200_000_000L;
  private static final long REPLICA_NANOS = 1_000_000_000L;

  private final Loop loop;
  private final Consumer<ProgressReport> to;

  private @Nullable LeaseRef lease;
  private @Nullable StepProgress progress;
  private long reportedNanos;
  private boolean reported;
  private boolean due;
  private boolean closed;

  ProgressReporter(Loop loop, Consumer<ProgressReport> to) {
    this.loop = loop;
    this.to = to;
  }

  /** The last step that was reported by the trainer; {@code otherwise} before the first. */
  long lastStep(long otherwise) {
    return progress == null ? otherwise : progress.getProgress().getStep();
  }

  /** Whether anything has been passed on. */
  boolean reported() {
    return reported;
  }

  /** The coordinator knows of the attempt. */
  void begun(LeaseRef of) {
    lease = of;
    if (!reported) {
      report();
    }
  }

  /** Once more, for a new session; nothing where nothing was passed on yet. */
  void again() {
    if (reported) {
      report();
    }
  }

  /** The trainer reports. */
  void progress(StepProgress what) {
    progress = what;
    if (lease == null || due) {
      return;
    }
    long since = loop.nanoTime() - reportedNanos;
    long interval = lease.getRank() == 0 ? PROGRESS_NANOS : REPLICA_NANOS;
    if (!reported || since >= interval) {
      report();
    } else {
      due = true;
      loop.schedule(
          interval - since,
          () -> {
            due = false;
            report();
          });
    }
  }

  /** Says nothing more. */
  void close() {
    closed = true;
  }

  private void report() {
    if (closed || lease == null || progress == null) {
      return;
    }
    reportedNanos = loop.nanoTime();
    reported = true;
    ProgressReport.Builder report =
        ProgressReport.newBuilder().setLease(lease).setFirstStep(progress.getFirstStep());
    if (lease.getRank() == 0) {
      report.setProgress(progress.getProgress());
    }
    if (progress.hasReplica()) {
      report.setReplica(progress.getReplica());
    }
    to.accept(report.build());
  }
}
