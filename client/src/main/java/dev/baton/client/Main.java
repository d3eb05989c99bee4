package dev.baton.client;

import dev.baton.client.command.Baton;
import dev.baton.client.command.Shell;
import dev.baton.client.connection.Time;
import dev.baton.client.output.Terminal;
import dev.baton.client.output.Terminal.Screen;
import dev.baton.client.output.Terminal.Size;
import dev.baton.doctor.HttpProbe;
import dev.baton.rpc.Channels;
import dev.baton.transfer.HttpObjectTransfer;
import java.io.BufferedOutputStream;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The client's command line. */
public final class Main {
  private Main() {}

  /** Runs one command and exits with its code. */
  public static void main(String[] args) {
    // Not System.out, which hides that nobody reads it any more.
    Terminal terminal =
        new Terminal(
            new BufferedOutputStream(new FileOutputStream(FileDescriptor.out)),
            new FileOutputStream(FileDescriptor.err),
            screen(),
            Main::size);
    // After Ctrl-C the terminal is as it was, and the shell's prompt begins a line of its own.
    Runtime.getRuntime().addShutdownHook(new Thread(terminal::end));
    Shell shell =
        new Shell(
            terminal,
            new FileInputStream(FileDescriptor.in),
            System.getenv(),
            settings -> Channels.open(settings.access(), settings.proxies()),
            settings -> new HttpObjectTransfer(settings.access(), settings.proxies()),
            settings -> HttpProbe.of(settings.access(), settings.proxies()),
            new SystemTime());
    System.exit(Baton.run(shell, args));
  }

  /** What the launcher found: Java 17 cannot tell which of the streams is a terminal. */
  private static Screen screen() {
    List<String> terminals = List.of(System.getProperty("baton.terminals", "").split(","));
    return new Screen(
        terminals.contains("out"),
        terminals.contains("err"),
        Math.max(20, Integer.getInteger("baton.columns", 80)));
  }

  /** The controlling terminal's size, as it is now; the environment's where nothing tells it. */
  private static Size size() {
    try {
      Process stty =
          new ProcessBuilder("stty", "size")
              .redirectInput(new File("/dev/tty"))
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      String said = new String(stty.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
      String[] words = said.strip().split(" ", -1);
      if (words.length == 2) {
        return size(words[1], words[0]);
      }
    } catch (IOException e) {
      // No terminal, or no stty.
    }
    return size(System.getenv("COLUMNS"), System.getenv("LINES"));
  }

  private static Size size(@Nullable String columns, @Nullable String rows) {
    return new Size(positive(columns, Size.USUAL.columns()), positive(rows, Size.USUAL.rows()));
  }

  private static int positive(@Nullable String text, int otherwise) {
    return text != null && text.matches("[1-9][0-9]{0,4}") ? Integer.parseInt(text) : otherwise;
  }

  private static final class SystemTime implements Time {
    @Override
    public long nanos() {
      return System.nanoTime();
    }

    @Override
    public long millis() {
      return System.currentTimeMillis();
    }

    @Override
    public void sleep(Duration duration) throws InterruptedException {
      Thread.sleep(duration.toMillis());
    }
  }
}
