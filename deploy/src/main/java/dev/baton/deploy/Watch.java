package dev.baton.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/** {@code baton watch JOB -o json}, running beside: the events of one job as they come. */
final class Watch implements AutoCloseable {
  private final Process process;
  private final List<JsonNode> events = new ArrayList<>();
  private final String job;
  private boolean ended;
  private volatile boolean closed;

  private Watch(Process process, String job) {
    this.process = process;
    this.job = job;
  }

  static Watch of(LocalCluster cluster, String job) throws IOException {
    return of(cluster.client("watch", job, "-o", "json"), cluster.dir(), job);
  }

  /**
   * As above, of any coordinator.
   *
   * @param call the client's, with that verb
   * @param dir for {@code watch.err}
   */
  static Watch of(ProcessBuilder call, Path dir, String job) throws IOException {
    File err = dir.resolve("watch.err").toFile();
    Process process = call.redirectError(ProcessBuilder.Redirect.appendTo(err)).start();
    Watch watch = new Watch(process, job);
    Thread reader = new Thread(watch::read, "watch " + job);
    reader.setDaemon(true);
    reader.start();
    return watch;
  }

  private void read() {
    try (BufferedReader out = process.inputReader(StandardCharsets.UTF_8)) {
      for (String line = out.readLine(); line != null; line = out.readLine()) {
        JsonNode event = LocalCluster.JSON.readTree(line);
        synchronized (this) {
          events.add(event);
          notifyAll();
        }
      }
    } catch (IOException e) {
      if (!closed) {
        throw new UncheckedIOException(e);
      }
    } finally {
      synchronized (this) {
        ended = true;
        notifyAll();
      }
    }
  }

  /** How many events have come; {@link #await} takes it as the place to look from. */
  synchronized int mark() {
    return events.size();
  }

  synchronized List<JsonNode> events() {
    return List.copyOf(events);
  }

  /**
   * Waits for an event behind a mark.
   *
   * @throws IOException where the limit passes, or the job ends without it
   */
  synchronized JsonNode await(int mark, Duration limit, Predicate<JsonNode> wanted)
      throws IOException, InterruptedException {
    long end = System.nanoTime() + limit.toNanos();
    for (int i = mark; ; i++) {
      while (i >= events.size()) {
        long left = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
        if (ended || left <= 0) {
          throw new IOException(
              "job "
                  + job
                  + (ended ? " ended" : ": " + limit.toSeconds() + " s passed")
                  + " without the event waited for; the last ones were "
                  + events.subList(Math.max(0, events.size() - 5), events.size()));
        }
        wait(left);
      }
      if (wanted.test(events.get(i))) {
        return events.get(i);
      }
    }
  }

  /** Waits for a step at or beyond a number, behind a mark. */
  JsonNode awaitStep(int mark, long step, Duration limit) throws IOException, InterruptedException {
    return await(mark, limit, e -> isStep(e) && e.get("step").asLong() >= step);
  }

  /** Waits for a step of so many replicas, behind a mark; the names of their workers, by rank. */
  List<String> awaitReplicas(int mark, int replicas, Duration limit)
      throws IOException, InterruptedException {
    JsonNode step = await(mark, limit, e -> isStep(e) && e.get("workers").size() == replicas);
    List<String> workers = new ArrayList<>();
    step.get("workers").forEach(name -> workers.add(name.asText()));
    return workers;
  }

  static boolean isStep(JsonNode event) {
    return event.path("event").asText().equals("step");
  }

  static boolean isCheckpoint(JsonNode event) {
    return event.path("event").asText().equals("checkpoint");
  }

  @Override
  public void close() {
    closed = true;
    process.destroyForcibly();
  }
}
