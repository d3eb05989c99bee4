package dev.baton.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/**
 * The whole of Baton on one machine: a coordinator, two workers, a CNN that trains on pictures of
 * digits, a worker killed with -9 on the way, and the job finished by the other one. Tells what
 * happens on standard error and ends with one line of JSON on standard output.
 */
final class Quickstart {
  private static final int DRAWN_TRAIN = 6_000;
  private static final int DRAWN_TEST = 1_000;

  private Quickstart() {}

  /**
   * Runs it.
   *
   * @param args {@code [DIR]}: a folder with MNIST's four files in it or below it
   */
  public static void main(String[] args) throws IOException, InterruptedException {
    Path data = args.length > 0 ? Path.of(args[0]) : null;
    Path dir = Files.createTempDirectory("baton-quickstart");
    try {
      System.out.println(run(dir, data));
    } catch (IOException e) {
      System.err.println("quickstart: " + e.getMessage());
      System.exit(1);
    } finally {
      Folders.delete(dir);
    }
  }

  private static ObjectNode run(Path dir, @Nullable Path data)
      throws IOException, InterruptedException {
    long start = System.nanoTime();
    Path pictures = data;
    // Real digits take one epoch to learn; the few that are drawn here take more.
    int epochs = 1;
    if (pictures == null) {
      pictures = dir.resolve("digits");
      epochs = 6;
      DrawDigits.write(pictures, DRAWN_TRAIN, DRAWN_TEST, 1);
      say("drew " + DRAWN_TRAIN + " + " + DRAWN_TEST + " pictures of digits");
    }
    try (LocalCluster cluster = LocalCluster.start(dir.resolve("cluster"))) {
      say("coordinator serves on " + cluster.address());
      Daemon first = cluster.startWorker("worker-1");
      say("worker-1 is ready (pid " + first.pid() + ")");
      cluster.baton("dataset", "push", "digits", pictures.toString(), "--format", "idx").orFail();
      String job = cluster.submit(jobFile(epochs));
      say("submitted job " + job + ": a CNN of 53,994 parameters, " + epochs + " epoch(s)");
      try (Watch watch = Watch.of(cluster, job)) {
        watch.awaitStep(0, 1, Duration.ofMinutes(2));
        say("worker-1 trains");
        cluster.startWorker("worker-2");
        say("worker-2 is ready and stands by");
        watch.await(0, Duration.ofMinutes(2), Watch::isCheckpoint);
        int mark = watch.mark();
        JsonNode last = watch.awaitStep(mark, 1, Duration.ofMinutes(2));
        first.kill();
        long killed = System.currentTimeMillis();
        say("killed worker-1 with -9 at step " + last.get("step").asLong());
        int afterKill = watch.mark();
        JsonNode next =
            watch.await(
                afterKill,
                Duration.ofMinutes(2),
                e -> Watch.isStep(e) && e.get("workers").toString().contains("worker-2"));
        say(
            "worker-2 went on with step %d, %.1f s after the kill"
                .formatted(
                    next.get("step").asLong(), (next.get("time").asLong() - killed) / 1000.0));
      }
      JsonNode end = cluster.await(job, Duration.ofMinutes(20));
      JsonNode attempts = end.get("attempts");
      ObjectNode line = LocalCluster.JSON.createObjectNode();
      line.put("job", job);
      line.put("state", end.get("state").asText());
      line.set("accuracy", end.at("/result/metrics/accuracy"));
      line.put("attempts", attempts.size());
      line.put(
          "resumed_from_step", attempts.get(attempts.size() - 1).get("first_step").asLong() - 1);
      line.put("seconds", Math.round((System.nanoTime() - start) / 1e8) / 10.0);
      return line;
    }
  }

  private static String jobFile(int epochs) {
    return """
        name: quickstart
        model: {builtin: {name: mnist-cnn, num_classes: 10}}
        data:
          train: {dataset: digits, split: train}
          eval: {dataset: digits, split: test}
        training:
          epochs: %d
          batch_size: 128
          optimizer: {adam: {lr: 0.005}}
          loss: cross_entropy
          seed: 1
          log_every: 20
        checkpoint: {interval: 1s}
        """
        .formatted(epochs);
  }

  private static void say(String line) {
    System.err.println("quickstart: " + line);
  }
}
