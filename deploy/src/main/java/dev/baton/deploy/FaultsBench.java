package dev.baton.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * Measures the throughput that is kept under faults: a job trains undisturbed for a while, then for
 * as long while every 30 s a worker at work is killed and a fresh one is started in its place, as
 * where rented machines come and go. Throughput counts each step once, however often it was run.
 * Prints one line of JSON: {@code replicas, faults, seconds, steps_per_second_undisturbed,
 * steps_per_second, kept}.
 */
final class FaultsBench {
  private static final Duration BETWEEN = Duration.ofSeconds(30);
  private static final Duration LIMIT = Duration.ofMinutes(2);

  private FaultsBench() {}

  /**
   * Runs it.
   *
   * @param args {@code [REPLICAS] [FAULTS]}: with one replica a second worker stands ready, with
   *     more there is a worker for each; 1 and 6 unless told
   */
  public static void main(String[] args) throws IOException, InterruptedException {
    int replicas = args.length > 0 ? Integer.parseInt(args[0]) : 1;
    int faults = args.length > 1 ? Integer.parseInt(args[1]) : 6;
    Path dir = Files.createTempDirectory("baton-faults");
    System.err.println("works in " + dir);
    System.out.println(run(dir, replicas, faults));
  }

  private static ObjectNode run(Path dir, int replicas, int faults)
      throws IOException, InterruptedException {
    try (LocalCluster cluster = BenchJob.cluster(dir)) {
      Deque<Daemon> workers = new ArrayDeque<>();
      int started = 0;
      while (started < Math.max(2, replicas)) {
        workers.add(cluster.startWorker("worker-" + started++));
      }
      String job = cluster.submit(BenchJob.file(10_000_000, replicas));
      Duration time = BETWEEN.multipliedBy(faults);
      double undisturbed;
      double disturbed;
      try (Watch watch = Watch.of(cluster, job)) {
        await(watch, replicas);
        watch.await(watch.mark(), LIMIT, Watch::isCheckpoint);
        JsonNode first = watch.awaitStep(watch.mark(), 1, LIMIT);
        Thread.sleep(time.toMillis());
        JsonNode last = watch.awaitStep(watch.mark(), 1, LIMIT);
        undisturbed = stepsPerSecond(first, last);
        System.err.printf("undisturbed: %.2f steps/s%n", undisturbed);

        first = last;
        long begin = System.nanoTime();
        for (int fault = 0; fault < faults; fault++) {
          // In the middle of each stretch of time, so that what a fault costs is counted whole.
          sleepUntil(begin + BETWEEN.multipliedBy(fault).plus(BETWEEN.dividedBy(2)).toNanos());
          Daemon lost = next(workers, watch.awaitStep(watch.mark(), 1, LIMIT));
          lost.kill();
          workers.remove(lost);
          workers.add(cluster.startWorker("worker-" + started++));
          System.err.println("killed " + lost.name());
        }
        sleepUntil(begin + time.toNanos());
        last = watch.awaitStep(watch.mark(), 1, LIMIT);
        disturbed = stepsPerSecond(first, last);
      }
      cluster.baton("cancel", job).orFail();
      ObjectNode line = LocalCluster.JSON.createObjectNode();
      line.put("replicas", replicas);
      line.put("faults", faults);
      line.put("seconds", time.toSeconds());
      line.put("steps_per_second_undisturbed", rounded(undisturbed));
      line.put("steps_per_second", rounded(disturbed));
      line.put("kept", rounded(disturbed / undisturbed));
      return line;
    }
  }

  private static void await(Watch watch, int replicas) throws IOException, InterruptedException {
    watch.await(0, LIMIT, event -> Watch.isStep(event) && event.get("workers").size() == replicas);
  }

  private static double stepsPerSecond(JsonNode first, JsonNode last) {
    return (last.get("step").asLong() - first.get("step").asLong())
        * 1e3
        / (last.get("time").asLong() - first.get("time").asLong());
  }

  /** The worker that has been at work for longest. */
  private static Daemon next(Deque<Daemon> workers, JsonNode event) {
    return workers.stream()
        .filter(worker -> event.get("workers").toString().contains('"' + worker.name() + '"'))
        .findFirst()
        .orElseThrow(() -> new IllegalStateException("no worker of " + event));
  }

  private static void sleepUntil(long nanos) throws InterruptedException {
    Thread.sleep(Math.max(0, (nanos - System.nanoTime()) / 1_000_000));
  }

  private static double rounded(double number) {
    return Math.round(number * 1e3) / 1e3;
  }
}
