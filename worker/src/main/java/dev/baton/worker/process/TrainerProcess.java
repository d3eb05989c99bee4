package dev.baton.worker.process;

import dev.baton.v1.DaemonMessage;
import dev.baton.v1.TrainerMessage;
import dev.baton.worker.trainer.ChannelInput;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A child process that trains: its socket, its output, its end. What is sent before it has
 * connected waits. Any thread may call it; the listener is called by the executor given.
 */
public final class TrainerProcess {
  private static final Logger log = LoggerFactory.getLogger(TrainerProcess.class);

  // sun_path holds 108 bytes, with its terminator.
  private static final int SOCKET_PATH_BYTES = 100;
  private static final int TAIL_BYTES = 16 << 10;
  private static final long DRAIN_SECONDS = 2;

  /** Hears from a trainer. {@code onExit} is the last call, after every message. */
  public interface Listener {
    void onMessage(TrainerMessage message);

    void onExit(TrainerExit exit);
  }

  private final TrainerSetting setting;
  private final Path dir;
  private final Path socketPath;
  private final ServerSocketChannel server;
  private final Process process;
  private final OutOfMemoryKills memory;
  private final long memoryKillsAtStart;
  private final TrainerLog output;
  private final Executor events;
  private final Listener listener;
  private final CompletableFuture<TrainerExit> exit = new CompletableFuture<>();
  private final Object sending = new Object();
  private final Queue<DaemonMessage> waiting = new ArrayDeque<>();
  private @Nullable SocketChannel out;
  private boolean closed;

  private TrainerProcess(
      TrainerSetting setting,
      Path dir,
      Path socketPath,
      ServerSocketChannel server,
      Process process,
      OutOfMemoryKills memory,
      long memoryKillsAtStart,
      TrainerLog output,
      Executor events,
      Listener listener) {
    this.setting = setting;
    this.dir = dir;
    this.socketPath = socketPath;
    this.server = server;
    this.process = process;
    this.memory = memory;
    this.memoryKillsAtStart = memoryKillsAtStart;
    this.output = output;
    this.events = events;
    this.listener = listener;
  }

  /**
   * Starts a trainer.
   *
   * @param dir its own, empty; holds its log and its socket
   * @throws IOException where the process or the socket cannot be made
   */
  public static TrainerProcess start(
      TrainerCommand command, TrainerSetting setting, Path dir, Executor events, Listener listener)
      throws IOException {
    Files.createDirectories(dir);
    Path socket = socketPath(dir);
    Files.deleteIfExists(socket);
    ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    TrainerLog output = null;
    try {
      server.bind(UnixDomainSocketAddress.of(socket), 1);
      output = TrainerLog.create(dir.resolve("trainer.log"));
      OutOfMemoryKills memory = new OutOfMemoryKills();
      long kills = memory.count();
      ProcessBuilder builder =
          new ProcessBuilder(command.line(dir, socket)).redirectErrorStream(true);
      Map<String, String> environment = builder.environment();
      // A job's model and data need not know what the daemon may do.
      environment.remove("BATON_TOKEN");
      environment.putAll(setting.environment());
      environment.putAll(command.natives().environment(environment));
      Process process = builder.start();
      process.getOutputStream().close();
      TrainerProcess trainer =
          new TrainerProcess(
              setting, dir, socket, server, process, memory, kills, output, events, listener);
      trainer.startThreads();
      return trainer;
    } catch (IOException e) {
      server.close();
      if (output != null) {
        output.close();
      }
      throw e;
    }
  }

  // A long work directory leaves no room for the socket's name: then it lies in /tmp.
  private static Path socketPath(Path dir) throws IOException {
    Path path = dir.toAbsolutePath().resolve("socket");
    if (path.toString().getBytes(StandardCharsets.UTF_8).length <= SOCKET_PATH_BYTES) {
      return path;
    }
    return Files.createTempDirectory("baton").resolve("socket");
  }

  private void startThreads() {
    Thread reader = new Thread(this::read, "trainer-" + pid() + "-socket");
    reader.setDaemon(true);
    reader.start();
    Thread pump = new Thread(() -> pump(reader), "trainer-" + pid() + "-output");
    pump.setDaemon(true);
    pump.start();
  }

  public TrainerSetting setting() {
    return setting;
  }

  /** Its directory, and everything in it, is the caller's to delete once it has ended. */
  public Path dir() {
    return dir;
  }

  /** What it prints. */
  public TrainerLog output() {
    return output;
  }

  public long pid() {
    return process.pid();
  }

  /** Its end; completed when everything that it printed and said has been read. */
  public CompletableFuture<TrainerExit> exit() {
    return exit;
  }

  /** Resident memory in bytes, where the system says. */
  public Optional<Long> residentBytes() {
    try {
      for (String line : Files.readAllLines(Path.of("/proc/" + pid() + "/status"))) {
        if (line.startsWith("VmRSS:")) {
          return Optional.of(Long.parseLong(line.replaceAll("\\D", "")) << 10);
        }
      }
    } catch (IOException e) {
      log.debug("no status of process {}", pid(), e);
    }
    return Optional.empty();
  }

  /** Sends a message; a trainer that has ended does not mind. */
  public void send(DaemonMessage message) {
    synchronized (sending) {
      if (closed) {
        return;
      }
      if (out == null) {
        waiting.add(message);
        return;
      }
      try {
        write(out, message);
      } catch (IOException e) {
        // Its exit, which follows, says more.
        log.debug("trainer {} does not hear", pid(), e);
      }
    }
  }

  /** Kills it at once (SIGKILL). */
  public void kill() {
    process.destroyForcibly();
  }

  /** Has the JVM print every thread's stack to its output. */
  public void dumpStacks() {
    try {
      Process kill = new ProcessBuilder("kill", "-QUIT", Long.toString(pid())).start();
      var unused =
          kill.onExit().thenAccept(p -> log.debug("kill -QUIT {}: {}", pid(), p.exitValue()));
    } catch (IOException e) {
      log.warn("no stacks of trainer {}: {}", pid(), e.getMessage());
    }
  }

  private void read() {
    try (SocketChannel channel = server.accept()) {
      InputStream in = new BufferedInputStream(new ChannelInput(channel));
      synchronized (sending) {
        out = channel;
        DaemonMessage early;
        while ((early = waiting.poll()) != null) {
          write(channel, early);
        }
      }
      TrainerMessage message;
      while ((message = TrainerMessage.parseDelimitedFrom(in)) != null) {
        TrainerMessage received = message;
        events.execute(() -> listener.onMessage(received));
      }
    } catch (IOException e) {
      log.debug("socket of trainer {} ended", pid(), e);
    } finally {
      synchronized (sending) {
        closed = true;
      }
    }
  }

  // Not through Channels.newOutputStream: on Java 17 that shares a lock with the stream that reads.
  private static void write(SocketChannel channel, DaemonMessage message) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    message.writeDelimitedTo(bytes);
    ByteBuffer buffer = ByteBuffer.wrap(bytes.toByteArray());
    while (buffer.hasRemaining()) {
      int unused = channel.write(buffer);
    }
  }

  private void pump(Thread reader) {
    try (InputStream in = process.getInputStream()) {
      byte[] buffer = new byte[16 << 10];
      int n;
      while ((n = in.read(buffer)) >= 0) {
        output.append(buffer, n);
      }
    } catch (IOException e) {
      log.warn("output of trainer {} lost: {}", pid(), e.getMessage());
    }
    try {
      int code = process.waitFor();
      // Ends accept() where it never connected; what it said last is read first.
      reader.join(TimeUnit.SECONDS.toMillis(out() == null ? 0 : DRAIN_SECONDS) + 1);
      server.close();
      reader.join(TimeUnit.SECONDS.toMillis(DRAIN_SECONDS));
      output.close();
      Files.deleteIfExists(socketPath);
      Path parent = socketPath.getParent();
      if (parent != null && !parent.equals(dir.toAbsolutePath())) {
        Files.deleteIfExists(parent);
      }
      ended(code);
    } catch (IOException e) {
      log.warn("after the end of trainer {}: {}", pid(), e.getMessage());
      ended(process.exitValue());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      log.error("the thread that waits for trainer {} was interrupted", pid());
    }
  }

  private void ended(int code) {
    // 137 = 128 + SIGKILL, which is what the kernel sends when memory runs out.
    boolean memoryKill =
        code == 137 && (memory.count() > memoryKillsAtStart || memory.kernelLogNames(pid()));
    TrainerExit end = new TrainerExit(code, memoryKill, tail());
    exit.complete(end);
    events.execute(() -> listener.onExit(end));
  }

  private @Nullable SocketChannel out() {
    synchronized (sending) {
      return out;
    }
  }

  private String tail() {
    try (RandomAccessFile file = new RandomAccessFile(output.file().toFile(), "r")) {
      long from = Math.max(0, file.length() - TAIL_BYTES);
      file.seek(from);
      byte[] bytes = new byte[(int) (file.length() - from)];
      file.readFully(bytes);
      return new String(bytes, StandardCharsets.UTF_8);
    } catch (IOException e) {
      log.warn("log of trainer {} cannot be read: {}", pid(), e.getMessage());
      return "";
    }
  }
}
