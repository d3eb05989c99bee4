package dev.baton.deploy;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** A coordinator or worker that runs as a process of its own, started through the launcher. */
final class Daemon implements AutoCloseable {
  private static final Duration READY_LIMIT = Duration.ofSeconds(60);

  private final String name;
  private final Process process;
  private final Path log;
  private final String readyLine;

  private Daemon(String name, Process process, Path log, String readyLine) {
    this.name = name;
    this.process = process;
    this.log = log;
    this.readyLine = readyLine;
  }

  /**
   * Starts a process and waits for its line {@code ready ...}.
   *
   * @param log where its standard error goes
   * @throws IOException where it ends, or says nothing for a minute; the message holds the end of
   *     its log
   */
  static Daemon start(String name, List<String> command, Map<String, String> environment, Path log)
      throws IOException, InterruptedException {
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.appendTo(log.toFile()));
    builder.environment().putAll(environment);
    Process process = builder.start();
    CompletableFuture<String> ready = new CompletableFuture<>();
    Thread reader = new Thread(() -> drain(process, ready), name + " stdout");
    reader.setDaemon(true);
    reader.start();
    try {
      return new Daemon(
          name, process, log, ready.get(READY_LIMIT.toMillis(), TimeUnit.MILLISECONDS));
    } catch (ExecutionException | TimeoutException e) {
      process.destroyForcibly();
      throw new IOException(name + " did not get ready; its log ends:\n" + tail(log), e);
    }
  }

  private static void drain(Process process, CompletableFuture<String> ready) {
    try (BufferedReader out = process.inputReader(StandardCharsets.UTF_8)) {
      for (String line = out.readLine(); line != null; line = out.readLine()) {
        if (line.startsWith("ready ")) {
          ready.complete(line);
        }
      }
    } catch (IOException e) {
      ready.completeExceptionally(e);
    }
    ready.completeExceptionally(new IOException("it ended"));
  }

  private static String tail(Path log) throws IOException {
    List<String> lines = Files.readAllLines(log);
    return String.join("\n", lines.subList(Math.max(0, lines.size() - 20), lines.size()));
  }

  String name() {
    return name;
  }

  /** What stands behind {@code key=} in the line that it printed when it was ready. */
  String ready(String key) {
    for (String word : readyLine.split(" ", -1)) {
      if (word.startsWith(key + "=")) {
        return word.substring(key.length() + 1);
      }
    }
    throw new IllegalStateException("no " + key + "= in: " + readyLine);
  }

  long pid() {
    return process.pid();
  }

  boolean isAlive() {
    return process.isAlive();
  }

  Path log() {
    return log;
  }

  /** The trainers that it has started, spare ones among them. */
  List<ProcessHandle> children() {
    return process.descendants().toList();
  }

  /** Sends a signal by its name: TERM, STOP, CONT, KILL. */
  void signal(String signal) throws IOException, InterruptedException {
    signal(signal, pid());
  }

  static void signal(String signal, long pid) throws IOException, InterruptedException {
    new ProcessBuilder("kill", "-" + signal, Long.toString(pid)).inheritIO().start().waitFor();
  }

  /**
   * kill -9, of the daemon alone: what it has started must notice by itself. Returns when it is
   * gone.
   */
  void kill() throws InterruptedException {
    process.destroyForcibly();
    process.waitFor();
  }

  /** SIGTERM; its exit code, once it has ended. */
  int terminate(Duration limit) throws IOException, InterruptedException {
    process.destroy();
    return awaitExit(limit);
  }

  /** Its exit code, once it has ended. */
  int awaitExit(Duration limit) throws IOException, InterruptedException {
    if (!process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS)) {
      throw new IOException(name + " still runs after " + limit.toSeconds() + " s");
    }
    return process.exitValue();
  }

  /** Ends it and what it has started, whatever state it is in. */
  @Override
  public void close() {
    List<ProcessHandle> children = children();
    process.destroyForcibly();
    children.forEach(ProcessHandle::destroyForcibly);
    process.onExit().join();
  }
}
