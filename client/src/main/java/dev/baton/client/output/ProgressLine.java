package dev.baton.client.output;

import dev.baton.transfer.TransferListener;
import java.util.function.LongSupplier;

/** A line that changes in place while something goes on; silent where no terminal is. */
public final class ProgressLine implements AutoCloseable {
  private static final long INTERVAL_NANOS = 100_000_000;
  private static final int BAR = 24;

  private final Terminal terminal;
  private final LongSupplier nanoTime;
  private long startedAt;
  private long lastShownAt;

  /** {@code nanoTime} is monotonic. */
  public ProgressLine(Terminal terminal, LongSupplier nanoTime) {
    this.terminal = terminal;
    this.nanoTime = nanoTime;
    this.startedAt = nanoTime.getAsLong();
    this.lastShownAt = startedAt - INTERVAL_NANOS;
  }

  /** Shows a text at once. */
  public void show(String text) {
    terminal.live(text);
  }

  /** Shows how a transfer gets on, a few times a second. */
  public TransferListener transfer(String label) {
    startedAt = nanoTime.getAsLong();
    return (done, total) -> {
      long now = nanoTime.getAsLong();
      if (now - lastShownAt < INTERVAL_NANOS && done < total) {
        return;
      }
      lastShownAt = now;
      double seconds = Math.max(1e-3, (now - startedAt) / 1e9);
      terminal.live(
          String.format(
              java.util.Locale.ROOT,
              "%s %s %s of %s, %s/s",
              label,
              bar(done, total),
              Units.bytes(done),
              Units.bytes(total),
              Units.bytes((long) (done / seconds))));
    };
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
