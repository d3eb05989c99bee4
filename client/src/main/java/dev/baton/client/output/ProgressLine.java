package dev.baton.client.output;

import dev.baton.transfer.TransferListener;
import java.util.function.LongSupplier;

/** A line that changes in place while something goes on; silent where no terminal is. */
public final class ProgressLine implements AutoCloseable {
  private static final long INTERVAL_NANOS = 100_000_000;
  private static final int BAR = 24;

  private final Terminal terminal;
  private final LongSupplier nanoTime;
  private long lastShownAt;

  /** {@code nanoTime} is monotonic. */
  public ProgressLine(Terminal terminal, LongSupplier nanoTime) {
    this.terminal = terminal;
    this.nanoTime = nanoTime;
    this.lastShownAt = nanoTime.getAsLong() - INTERVAL_NANOS;
  }

  /** Shows a text at once. */
  public void show(String text) {
    terminal.live(text);
  }

  /** Shows how a transfer gets on, a few times a second. */
  public TransferListener transfer(String label) {
    long startedAt = nanoTime.getAsLong();
    return (done, total) -> {
      if (isDue(done, total)) {
        double seconds = Math.max(1e-3, (lastShownAt - startedAt) / 1e9);
        terminal.live(
            label
                + " "
                + bar(done, total)
                + " "
                + Units.bytes(done)
                + " of "
                + Units.bytes(total)
                + ", "
                + Units.bytes((long) (done / seconds))
                + "/s");
      }
    };
  }

  /** Shows how some work gets on, a few times a second. */
  public void work(String what, long done, long total) {
    if (isDue(done, total)) {
      terminal.live(what + " " + bar(done, total));
    }
  }

  private boolean isDue(long done, long total) {
    long now = nanoTime.getAsLong();
    boolean due = now - lastShownAt >= INTERVAL_NANOS || done >= total;
    if (due) {
      lastShownAt = now;
    }
    return due;
  }

  /** {@code [##### ] 50 %}. */
  public static String bar(long done, long total) {
    double share = total <= 0 ? 0 : Math.min(1, (double) done / total);
    int full = (int) (share * BAR);
    return "["
        + "#".repeat(full)
        + " ".repeat(BAR - full)
        + "] "
        + String.format(java.util.Locale.ROOT, "%3d %%", (int) (share * 100));
  }

  /** Takes the line away, so that something else can be printed. */
  public void clear() {
    terminal.clearLive();
  }

  @Override
  public void close() {
    clear();
  }
}
