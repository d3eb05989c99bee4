package dev.baton.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * What this machine's GPU does with Baton: the four workloads of {@code bench train} on it, and a
 * job that is killed, resumed and held against an undisturbed run. Prints a table on standard error
 * and the same as JSON on standard output. Needs no network; the caller has made sure that there is
 * a GPU.
 */
final class GpuCheck {
  private static final List<String> WORKLOADS =
      List.of("linreg", "lenet-cifar", "mnist-cnn", "resnet18");

  private GpuCheck() {}

  /**
   * Runs it; exit code 1 where something is not as it should be.
   *
   * @param args {@code [DIR]}: a folder with {@code mnist/} in it, for mnist-cnn; digits are drawn
   *     where it is left out
   */
  public static void main(String[] args) throws IOException, InterruptedException {
    Path dir = Files.createTempDirectory("baton-gpu-check");
    Path data = dir;
    if (args.length > 0) {
      data = Path.of(args[0]);
    } else {
      DrawDigits.write(dir.resolve("mnist"), 60_000, 10_000, 1);
    }
    ObjectNode report = LocalCluster.JSON.createObjectNode();
    ObjectNode bench = report.putObject("bench");
    System.err.printf("%-12s %14s %8s %10s%n", "workload", "us per step", "steps", "loss");
    for (String workload : WORKLOADS) {
      JsonNode line = bench(workload, data);
      bench.set(workload, line);
      System.err.printf(
          "%-12s %14.1f %8d %10.5f%n",
          workload,
          line.get("us_per_step").asDouble(),
          line.get("steps").asLong(),
          line.get("loss").asDouble());
    }
    ObjectNode resume = resume(dir);
    report.set("resume", resume);
    System.err.printf(
        "killed at step %d; next step %.2f s later; same bits: %s%n",
        resume.get("killed_at_step").asLong(),
        resume.get("seconds_to_next_step").asDouble(),
        resume.get("same_weights").asBoolean() ? "yes" : "NO");
    System.out.println(report);
    System.exit(resume.get("same_weights").asBoolean() ? 0 : 1);
  }

  private static JsonNode bench(String workload, Path data)
      throws IOException, InterruptedException {
    List<String> command =
        new ArrayList<>(
            List.of(
                LocalCluster.root().resolve("deploy/bin/baton").toString(),
                "bench",
                "train",
                "--workload",
                workload,
                "--device",
                "cuda"));
    if (workload.equals("resnet18")) {
      command.addAll(List.of("--steps", "50"));
    }
    if (workload.equals("mnist-cnn")) {
      command.addAll(List.of("--data", data.toString()));
    }
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    if (process.waitFor() != 0) {
      throw new IOException(
          "bench train --workload " + workload + " exited " + process.exitValue());
    }
    return LocalCluster.JSON.readTree(out);
  }

  private static ObjectNode resume(Path dir) throws IOException, InterruptedException {
    DrawDigits.write(dir.resolve("digits"), 20_000, 2_000, 1);
    try (LocalCluster cluster = LocalCluster.start(dir.resolve("cluster"))) {
      cluster
          .baton("dataset", "push", "digits", dir.resolve("digits").toString(), "--format", "idx")
          .orFail();
      cluster.startWorker("first");
      JsonNode undisturbed = succeeded(cluster, cluster.submit(JOB));
      cluster.startWorker("second");
      String job = cluster.submit(JOB);
      ObjectNode line = LocalCluster.JSON.createObjectNode();
      try (Watch watch = Watch.of(cluster, job)) {
        watch.await(0, Duration.ofMinutes(3), Watch::isCheckpoint);
        JsonNode last = watch.awaitStep(watch.mark(), 1, Duration.ofMinutes(2));
        String holder = last.at("/workers/0").asText();
        int mark = watch.mark();
        long killed = System.currentTimeMillis();
        cluster.worker(holder).kill();
        JsonNode next =
            watch.await(
                mark,
                Duration.ofMinutes(2),
                e -> Watch.isStep(e) && !e.at("/workers/0").asText().equals(holder));
        line.put("killed_at_step", last.get("step").asLong());
        line.put("seconds_to_next_step", (next.get("time").asLong() - killed) / 1000.0);
      }
      JsonNode end = succeeded(cluster, job);
      line.set("kind", end.at("/attempts/0/kind"));
      line.set("accuracy", end.at("/result/metrics/accuracy"));
      line.put("attempts", end.get("attempts").size());
      line.put(
          "same_weights",
          end.at("/result/weights_sha256").equals(undisturbed.at("/result/weights_sha256")));
      return line;
    }
  }

  private static JsonNode succeeded(LocalCluster cluster, String job)
      throws IOException, InterruptedException {
    JsonNode end = cluster.await(job, Duration.ofMinutes(10));
    if (!end.get("state").asText().equals("SUCCEEDED")) {
      throw new IOException("job " + job + " is " + end.get("state") + ": " + end.get("reason"));
    }
    return end;
  }

  private static final String JOB =
      """
      name: gpu-check
      model: {builtin: {name: mnist-cnn, num_classes: 10}}
      data:
        train: {dataset: digits, split: train}
        eval: {dataset: digits, split: test}
      training:
        epochs: 60
        batch_size: 64
        optimizer: {adam: {lr: 0.002}}
        loss: cross_entropy
        seed: 1
      resources: {gpus: 1}
      checkpoint: {interval: 1s}
      """;
}
