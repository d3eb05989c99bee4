package dev.baton.worker.leaving;

import dev.baton.transfer.ObjectTransfer;
import dev.baton.transfer.TicketSource;
import dev.baton.transfer.TransferListener;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadTicket;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import java.util.function.LongSupplier;

/** Transfers, and takes the time of uploads. Any number of threads may use it. */
public final class UploadTimes implements ObjectTransfer {
  private static final int REMEMBERED = 8;
  // One that takes longer may be slow or stuck; which one shows when it is through.
  private static final long MAX_UNDER_WAY_NANOS = Duration.ofMinutes(5).toNanos();

  private final ObjectTransfer transfer;
  private final LongSupplier nanoTime;
  private final Deque<Long> lastNanos = new ArrayDeque<>();
  private final Map<Object, Long> begunNanos = new HashMap<>();

  /**
   * @param nanoTime a monotonic clock
   */
  public UploadTimes(ObjectTransfer transfer, LongSupplier nanoTime) {
    this.transfer = transfer;
    this.nanoTime = nanoTime;
  }

  /**
   * The longest of the last eight uploads (several jobs may take turns) and of those under way,
   * which take at least as long as they have by now (of which five minutes count); zero where there
   * was none.
   */
  public synchronized Duration longest() {
    long now = nanoTime.getAsLong();
    long longest = lastNanos.stream().mapToLong(n -> n).max().orElse(0);
    for (long begun : begunNanos.values()) {
      longest = Math.max(longest, Math.min(now - begun, MAX_UNDER_WAY_NANOS));
    }
    return Duration.ofNanos(longest);
  }

  @Override
  public CompletedUpload upload(
      Path file,
      UploadContent content,
      TicketSource<UploadTicket> tickets,
      TransferListener listener)
      throws IOException, InterruptedException {
    Object key = new Object();
    begin(key);
    boolean done = false;
    try {
      CompletedUpload upload = transfer.upload(file, content, tickets, listener);
      done = true;
      return upload;
    } finally {
      end(key, done);
    }
  }

  private synchronized void begin(Object key) {
    begunNanos.put(key, nanoTime.getAsLong());
  }

  private synchronized void end(Object key, boolean done) {
    Long begun = begunNanos.remove(key);
    // One that failed tells nothing: it may have been refused at once.
    if (begun != null && done) {
      lastNanos.addLast(nanoTime.getAsLong() - begun);
      if (lastNanos.size() > REMEMBERED) {
        lastNanos.removeFirst();
      }
    }
  }

  @Override
  public void download(TicketSource<DownloadTicket> tickets, Path target, TransferListener listener)
      throws IOException, InterruptedException {
    transfer.download(tickets, target, listener);
  }
}
