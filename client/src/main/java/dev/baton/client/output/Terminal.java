package dev.baton.client.output;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;

/**
 * Standard output and standard error, and what is known of the terminals behind them. For one
 * thread; {@link #finishLine} alone may be called by another.
 */
public final class Terminal {

  /** What lies behind the two streams. */
  public record Screen(boolean out, boolean err, int columns) {
    /** Neither is a terminal. */
    public static final Screen NONE = new Screen(false, false, 80);
  }

  /** Nobody reads standard output any more. */
  public static final class ClosedException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    ClosedException(IOException cause) {
      super(cause);
    }
  }

  private final OutputStream out;
  private final OutputStream err;
  private final Screen screen;
  private volatile boolean lineOpen;

  public Terminal(OutputStream out, OutputStream err, Screen screen) {
    this.out = out;
    this.err = err;
    this.screen = screen;
  }

  public Screen screen() {
    return screen;
  }

  /** Writes a line of the result. */
  public void println(String line) {
    print(line + "\n");
  }

  /** Writes to standard output as it is. */
  public void print(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    write(bytes, 0, bytes.length);
    flush();
  }

  /** Writes bytes to standard output; {@link #flush} sends them off. */
  public void write(byte[] bytes, int offset, int length) {
    try {
      out.write(bytes, offset, length);
    } catch (IOException e) {
      throw failed(e);
    }
  }

  public void flush() {
    try {
      out.flush();
    } catch (IOException e) {
      throw failed(e);
    }
  }

  /** Writes a line for people, beside the result. */
  public void note(String line) {
    noteRaw(line + "\n");
  }

  private void noteRaw(String text) {
    try {
      err.write(text.getBytes(StandardCharsets.UTF_8));
      err.flush();
    } catch (IOException e) {
      // Standard error is gone: there is nobody left to tell.
      return;
    }
  }

  /** Shows a line in the place of the last one, on standard error, where that is a terminal. */
  void live(String line) {
    if (screen.err) {
      String cut = line.length() < screen.columns ? line : line.substring(0, screen.columns - 1);
      lineOpen = true;
      noteRaw("\r" + cut + "\u001b[K");
    }
  }

  /** Takes the live line away. */
  void clearLive() {
    if (lineOpen) {
      lineOpen = false;
      noteRaw("\r\u001b[K");
    }
  }

  /** Leaves a live line standing and goes below it, so that what comes next begins a line. */
  public void finishLine() {
    if (lineOpen) {
      lineOpen = false;
      noteRaw("\n");
    }
  }

  private static RuntimeException failed(IOException e) {
    String message = String.valueOf(e.getMessage());
    return message.contains("Broken pipe")
            || message.contains("Pipe closed")
            || message.contains("Stream closed")
        ? new ClosedException(e)
        : new UncheckedIOException("writing to standard output: " + message, e);
  }
}
