package dev.baton.client.output;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.function.Supplier;

/**
 * Standard output and standard error, and what is known of the terminals behind them. For one
 * thread; {@link #finishLine} and {@link #end} alone may be called by another.
 */
public final class Terminal {
  // xterm's control sequences, which every terminal of today knows.
  private static final String ENTER_FULL = "\u001b[?1049h\u001b[?25l";
  private static final String LEAVE_FULL = "\u001b[?25h\u001b[?1049l";
  private static final String HOME = "\u001b[H";
  private static final String TO_END_OF_LINE = "\u001b[K";
  private static final String BELOW = "\u001b[J";

  /** What lies behind the two streams. */
  public record Screen(boolean out, boolean err, int columns) {
    /** Neither is a terminal. */
    public static final Screen NONE = new Screen(false, false, 80);
  }

  /** A terminal's size in characters; it changes when somebody drags the window. */
  public record Size(int columns, int rows) {
    /** What terminals were like once. */
    public static final Size USUAL = new Size(80, 24);
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
  private final Supplier<Size> size;
  private volatile boolean lineOpen;
  private final Object fullLock = new Object();
  private boolean full;
  private boolean ended;

  /**
   * @param size of the terminal at the moment, where there is one
   */
  public Terminal(OutputStream out, OutputStream err, Screen screen, Supplier<Size> size) {
    this.out = out;
    this.err = err;
    this.screen = screen;
    this.size = size;
  }

  public Screen screen() {
    return screen;
  }

  /** The size at the moment. */
  public Size size() {
    return size.get();
  }

  /** Writes a line of the result for people, in which nothing steers the terminal. */
  public void say(String line) {
    println(Printable.line(line));
  }

  /** Writes a line of the result as it is: for programs, which want every character. */
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

  /**
   * Shows these lines, and nothing else, on the whole of a terminal behind standard output. What
   * stood there before comes back with {@link #finishLine}.
   */
  public void showFull(List<String> lines) {
    synchronized (fullLock) {
      if (ended) {
        return;
      }
      // No line end behind the last: it would scroll the first away.
      String text = HOME + String.join(TO_END_OF_LINE + "\r\n", lines) + TO_END_OF_LINE + BELOW;
      String begin = full ? "" : ENTER_FULL;
      full = true;
      print(begin + text);
    }
  }

  /** Writes a line for people, beside the result, in which nothing steers the terminal. */
  public void note(String line) {
    noteRaw(Printable.line(line) + "\n");
  }

  /** As {@link #note}, of many lines. */
  public void notes(String lines) {
    noteRaw(Printable.lines(lines) + "\n");
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
      String text = Printable.line(line);
      String cut = text.length() < screen.columns ? text : text.substring(0, screen.columns - 1);
      lineOpen = true;
      noteRaw("\r" + cut + TO_END_OF_LINE);
    }
  }

  /** Takes the live line away. */
  void clearLive() {
    if (lineOpen) {
      lineOpen = false;
      noteRaw("\r" + TO_END_OF_LINE);
    }
  }

  /**
   * Leaves a live line standing and goes below it, so that what comes next begins a line; a
   * terminal that was shown full gets back what stood there.
   */
  public void finishLine() {
    synchronized (fullLock) {
      if (full) {
        full = false;
        try {
          print(LEAVE_FULL);
        } catch (ClosedException | UncheckedIOException e) {
          // It is gone with what stood there.
          return;
        }
      }
    }
    if (lineOpen) {
      lineOpen = false;
      noteRaw("\n");
    }
  }

  /** The process is about to end: as {@link #finishLine}, and nothing is shown full any more. */
  public void end() {
    synchronized (fullLock) {
      ended = true;
    }
    finishLine();
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
