package dev.baton.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * Measures what a worker's end costs: one job, its worker ended again and again while another
 * stands ready, and the seconds from each end to the next step. Prints one line of JSON: {@code
 * signal, ends, median_seconds, worst_seconds, seconds, attempts, steps_lost, weights_sha256,
 * same_weights}.
 */
final class PreemptionBench {
  private PreemptionBench() {}

  /**
   * Runs it.
   *
   * @param args {@code SIGNAL [COUNT]}: KILL or TERM; how many times, 20 unless told
   */
  public static void main(String[] args) throws IOException, InterruptedException {
    String signal = args.length > 0 ? args[0] : "KILL";
    int count = args.length > 1 ? Integer.parseInt(args[1]) : 20;
    Path dir = Files.createTempDirectory("baton-preemption");
    System.err.println("works in " + dir);
    System.out.println(run(dir, signal, count));
  }

  private static ObjectNode run(Path dir, String signal, int count)
      throws IOException, InterruptedException {
    try (LocalCluster cluster = BenchJob.cluster(dir)) {
      // Enough for some ten seconds of training before each end.
      String jobFile = BenchJob.file(count * 800L, 1);
      Daemon busy = cluster.startWorker("worker-0");
      String job = cluster.submit(jobFile);
      List<Double> seconds = new ArrayList<>();
      try (Watch watch = Watch.of(cluster, job)) {
        for (int i = 1; i <= count; i++) {
          String name = "worker-" + i;
          Daemon ready = cluster.startWorker(name);
          // Steps of the one at work, a checkpoint among them, and a stand-by that has loaded and
          // staged.
          int mark = watch.mark();
          watch.await(mark, Duration.ofMinutes(2), Watch::isCheckpoint);
          Thread.sleep(3_000);
          JsonNode last = watch.awaitStep(watch.mark(), 1, Duration.ofMinutes(2));
          int before = watch.mark();
          long ended = System.currentTimeMillis();
          Daemon.signal(signal, busy.pid());
          JsonNode next =
              watch.await(
                  before,
                  Duration.ofMinutes(2),
                  e -> Watch.isStep(e) && e.get("workers").toString().contains('"' + name + '"'));
          seconds.add((next.get("time").asLong() - ended) / 1000.0);
          System.err.printf(
              "%s %d at step %d: %.2f s to step %d%n",
              signal,
              i,
              last.get("step").asLong(),
              seconds.get(seconds.size() - 1),
              next.get("step").asLong());
          busy = ready;
        }
      }
      JsonNode end = cluster.await(job, Duration.ofMinutes(30));
      JsonNode undisturbed = cluster.await(cluster.submit(jobFile), Duration.ofMinutes(30));
      List<Double> sorted = seconds.stream().sorted().toList();
      long lost = 0;
      JsonNode attempts = end.get("attempts");
      for (int i = 1; i < attempts.size(); i++) {
        lost +=
            attempts.get(i - 1).get("last_step").asLong()
                - (attempts.get(i).get("first_step").asLong() - 1);
      }
      ObjectNode line = LocalCluster.JSON.createObjectNode();
      line.put("signal", signal);
      line.put("ends", count);
      line.put("median_seconds", sorted.get(sorted.size() / 2));
      line.put("worst_seconds", sorted.get(sorted.size() - 1));
      ArrayNode all = line.putArray("seconds");
      seconds.forEach(all::add);
      line.put("attempts", attempts.size());
      line.put("steps_lost", lost);
      line.set("weights_sha256", end.at("/result/weights_sha256"));
      line.put(
          "same_weights",
          end.at("/result/weights_sha256").equals(undisturbed.at("/result/weights_sha256")));
      return line;
    }
  }
}
