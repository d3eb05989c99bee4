package dev.baton.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

/** Whole jobs on the device, through a coordinator and workers of this machine. */
final class GpuJobs implements AutoCloseable {
  private static final Duration LIMIT = Duration.ofMinutes(10);

  private final GpuCheck.Options options;
  private final GpuMemory memory;
  private final LocalCluster cluster;

  private GpuJobs(GpuCheck.Options options, GpuMemory memory, LocalCluster cluster) {
    this.options = options;
    this.memory = memory;
    this.cluster = cluster;
  }

  /** A coordinator with the data that the jobs train on. */
  static GpuJobs start(GpuCheck.Options options, Path dir, GpuMemory memory)
      throws IOException, InterruptedException {
    DrawDigits.write(
        dir.resolve("digits"), options.quick() ? 500 : 20_000, options.quick() ? 100 : 2_000, 1);
    LocalCluster cluster = LocalCluster.start(dir.resolve("cluster"));
    GpuJobs jobs = new GpuJobs(options, memory, cluster);
    try {
      cluster
          .baton("dataset", "push", "digits", dir.resolve("digits").toString(), "--format", "idx")
          .orFail();
    } catch (IOException | InterruptedException e) {
      jobs.close();
      throw e;
    }
    return jobs;
  }

  /** GPU memory that a worker takes whose spare trainer waits: {@code device_mib}, if known. */
  ObjectNode spareMemory() throws IOException, InterruptedException {
    ObjectNode line = LocalCluster.JSON.createObjectNode();
    Daemon worker = cluster.startWorker("first");
    awaitSpare(worker);
    // The driver's figure is a fifth of a second old at most.
    Thread.sleep(1_000);
    if (memory.isKnown()) {
      line.put("device_mib", memory.now());
    }
    return line;
  }

  /** Waits until the worker's log says that its spare trainer has loaded libtorch. */
  private static void awaitSpare(Daemon worker) throws IOException, InterruptedException {
    long end = System.nanoTime() + LIMIT.toNanos();
    while (!Files.readString(worker.log()).contains("a spare trainer waits")) {
      if (!worker.isAlive() || System.nanoTime() > end) {
        throw new IOException("no spare trainer waits; see " + worker.log());
      }
      Thread.sleep(200);
    }
  }

  /** A job that loses its worker to kill -9, against the same job undisturbed. */
  ObjectNode killAndResume() throws IOException, InterruptedException {
    String yaml =
        job("mnist-cnn", options.quick() ? 100 : 60, "1s", "optimizer: {adam: {lr: 0.002}}");
    JsonNode undisturbed = succeeded(cluster.submit(yaml));
    cluster.startWorker("second");
    memory.restart();
    String job = cluster.submit(yaml);
    ObjectNode line = LocalCluster.JSON.createObjectNode();
    try (Watch watch = Watch.of(cluster, job)) {
      watch.await(0, LIMIT, Watch::isCheckpoint);
      JsonNode last = watch.awaitStep(watch.mark(), 1, LIMIT);
      String holder = last.at("/workers/0").asText();
      int mark = watch.mark();
      long killed = System.currentTimeMillis();
      cluster.worker(holder).kill();
      JsonNode next =
          watch.await(
              mark, LIMIT, e -> Watch.isStep(e) && !e.at("/workers/0").asText().equals(holder));
      line.put("killed_at_step", last.get("step").asLong());
      line.put("seconds_to_next_step", (next.get("time").asLong() - killed) / 1000.0);
    }
    JsonNode end = succeeded(job);
    line.put("accuracy", end.at("/result/metrics/accuracy").asDouble());
    line.put("attempts", end.get("attempts").size());
    line.put("same_weights", weights(end).equals(weights(undisturbed)));
    if (memory.isKnown()) {
      line.put("peak_mib", memory.peak());
    }
    return line;
  }

  /**
   * A ResNet-18 with Adam, some 135 MB of state, that checkpoints as often as it can, against the
   * same one without.
   */
  ObjectNode checkpointsUnderLoad() throws IOException, InterruptedException {
    int epochs = options.quick() ? 2 : 10;
    String optimizer = "optimizer: {adam: {lr: 0.001}}";
    Timed without = timed(job("resnet18", epochs, "1h", optimizer));
    Timed with = timed(job("resnet18", epochs, "1s", optimizer));
    JsonNode newest = with.end.get("checkpoints").path(0);
    ObjectNode line = LocalCluster.JSON.createObjectNode();
    line.put("checkpoints", with.checkpoints);
    line.put("bytes", newest.path("bytes").asLong());
    line.put("seconds", with.seconds);
    line.put("seconds_without", without.seconds);
    line.put("slower_percent", 100 * (with.seconds / without.seconds - 1));
    line.put("ms_each", 1000 * (with.seconds - without.seconds) / Math.max(1, with.checkpoints));
    line.put("same_weights", weights(with.end).equals(weights(without.end)));
    return line;
  }

  /**
   * A job that has run.
   *
   * @param seconds from its first report to its last
   */
  private record Timed(JsonNode end, double seconds, long checkpoints) {}

  private Timed timed(String yaml) throws IOException, InterruptedException {
    String job = cluster.submit(yaml);
    try (Watch watch = Watch.of(cluster, job)) {
      JsonNode end = succeeded(job);
      var steps = watch.events().stream().filter(Watch::isStep).toList();
      if (steps.size() < 2) {
        throw new IOException("job " + job + " was over before it could be timed");
      }
      long from = steps.get(0).get("time").asLong();
      long to = steps.get(steps.size() - 1).get("time").asLong();
      return new Timed(
          end, (to - from) / 1000.0, watch.events().stream().filter(Watch::isCheckpoint).count());
    }
  }

  private static JsonNode weights(JsonNode job) {
    return job.at("/result/weights_sha256");
  }

  private JsonNode succeeded(String job) throws IOException, InterruptedException {
    JsonNode end = cluster.await(job, LIMIT);
    if (!end.get("state").asText().equals("SUCCEEDED")) {
      throw new IOException("job " + job + " is " + end.get("state") + ": " + end.get("reason"));
    }
    return end;
  }

  private String job(String model, int epochs, String interval, String optimizer) {
    return """
        name: gpu-check
        model: {builtin: {name: %s, num_classes: 10}}
        data:
          train: {dataset: digits, split: train}
          eval: {dataset: digits, split: test}
        training:
          epochs: %d
          batch_size: 64
          %s
          loss: cross_entropy
          seed: 1
        resources: {gpus: %d}
        checkpoint: {interval: %s}
        """
        .formatted(model, epochs, optimizer, options.cuda() ? 1 : 0, interval);
  }

  @Override
  public void close() {
    cluster.close();
  }
}
