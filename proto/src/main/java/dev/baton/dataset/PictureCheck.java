package dev.baton.dataset;

import java.io.IOException;
import java.nio.channels.ClosedByInterruptException;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/** Decodes every picture of a split, on all processors, the caller's thread among them. */
final class PictureCheck {
  private final SplitReader reader;
  private final ProgressListener listener;
  private final long doneBefore;
  private final long total;
  private final AtomicInteger next = new AtomicInteger();
  private final AtomicInteger done = new AtomicInteger();
  private volatile @Nullable Throwable failure;
  private @Nullable Shape shape;

  PictureCheck(SplitReader reader, ProgressListener listener, long doneBefore, long total) {
    this.reader = reader;
    this.listener = listener;
    this.doneBefore = doneBefore;
    this.total = total;
  }

  /** What the pictures have in common. */
  Shape run() throws IOException, InterruptedException {
    List<Thread> others = new ArrayList<>();
    for (int i = 1; i < Runtime.getRuntime().availableProcessors(); i++) {
      Thread other = new Thread(() -> decode(false), "check-pictures-" + i);
      other.setDaemon(true);
      other.start();
      others.add(other);
    }
    decode(true);
    InterruptedException interrupted = null;
    for (Thread other : others) {
      while (other.isAlive()) {
        try {
          other.join();
        } catch (InterruptedException e) {
          interrupted = e;
          next.set(reader.size());
        }
      }
    }
    if (interrupted != null) {
      throw interrupted;
    }
    Throwable failed = failure;
    if (failed instanceof ClosedByInterruptException) {
      throw new InterruptedException();
    }
    if (failed instanceof DatasetException e) {
      throw e;
    }
    if (failed instanceof IOException e) {
      throw e;
    }
    if (failed != null) {
      throw new IllegalStateException("checking pictures failed", failed);
    }
    listener.onProgress("checking pictures", doneBefore + reader.size(), total);
    return Objects.requireNonNull(common(), "a split without pictures");
  }

  private void decode(boolean reports) {
    Shape common = null;
    try {
      for (int i; (i = next.getAndIncrement()) < reader.size(); ) {
        Shape found = Shape.of(reader.read(i));
        common = common == null ? found : common.and(found);
        int count = done.incrementAndGet();
        if (reports) {
          listener.onProgress("checking pictures", doneBefore + count, total);
        }
      }
    } catch (Throwable e) { // thrown by run
      failure = e;
      next.set(reader.size());
    }
    if (common != null) {
      merge(common);
    }
  }

  private synchronized void merge(Shape more) {
    Shape before = shape;
    shape = before == null ? more : before.and(more);
  }

  private synchronized @Nullable Shape common() {
    return shape;
  }
}
