package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The coordinator's disk has no room for more objects: senders get one line, jobs train on, and all
 * goes its way once there is room. Skipped for who may not mount a file system.
 */
class DiskFullIT {
  private static final int DISK_MIB = 128;
  // The coordinator keeps 64 MiB for its database: the digits below fit in none of the rest.
  private static final long LEFT = (64L << 20) + (256 << 10);

  private static final String JOB =
      """
      name: squeezed
      model: {builtin: {name: mnist-cnn, num_classes: 10}}
      data:
        train: {dataset: digits, split: train}
      training:
        max_steps: 1000
        batch_size: 8
        optimizer: {sgd: {lr: 0.01, momentum: 0.9}}
        loss: cross_entropy
      checkpoint: {interval: 500ms, keep: 1}
      """;

  private static String run(String... command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(List.of(command)).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return process.waitFor() == 0 ? "" : "exit " + process.exitValue() + " " + said.strip();
  }

  @Test
  void whatDoesNotFitIsRefusedAndWhatRunsGoesOn(@TempDir Path dir) throws Exception {
    Path disk = Files.createDirectories(dir.resolve("cluster/coordinator"));
    String why;
    try {
      why = run("mount", "-t", "tmpfs", "-o", "size=" + DISK_MIB + "m", "tmpfs", disk + "");
    } catch (IOException e) {
      why = e.toString();
    }
    Assumptions.assumeTrue(why.isEmpty(), "no file system can be mounted here: " + why);
    try (LocalCluster cluster = LocalCluster.start(dir.resolve("cluster"))) {
      cluster.startWorker("worker");
      Path digits = dir.resolve("digits");
      DrawDigits.write(digits, 3_000, 50, 1);
      pushesOnceThereIsRoom(cluster, disk, digits);
      trainsOnUntilThereIsRoom(cluster, disk);
    } finally {
      // Lazily: a daemon that dies still has its log open there.
      assertThat(run("umount", "-l", disk + "")).isEmpty();
    }
  }

  /** Takes all but so many bytes of the disk. */
  private static Path fill(Path disk) throws IOException, InterruptedException {
    Path filler = disk.resolve("filler");
    long bytes = Files.getFileStore(disk).getUsableSpace() - LEFT;
    assertThat(run("fallocate", "-l", bytes + "", filler + "")).isEmpty();
    return filler;
  }

  private static List<Path> objects(LocalCluster cluster) throws IOException {
    try (Stream<Path> files = Files.walk(cluster.objects())) {
      return files.filter(Files::isRegularFile).toList();
    }
  }

  private static void pushesOnceThereIsRoom(LocalCluster cluster, Path disk, Path digits)
      throws Exception {
    Path filler = fill(disk);
    LocalCluster.Output output = cluster.baton("dataset", "push", "digits", digits.toString());
    assertThat(output.exit()).as("%s", output).isEqualTo(1);
    assertThat(output.err().lines()).as("%s", output).hasSize(1);
    assertThat(output.err())
        .startsWith("error: no space left on the coordinator's disk: an upload of ")
        .contains(disk.toString(), "bytes free", "make room there");
    assertThat(cluster.baton("dataset", "ls", "-o", "json").orFail()).isEqualTo("[]");
    assertThat(objects(cluster)).filteredOn(file -> file.toFile().length() > (256 << 10)).isEmpty();

    Files.delete(filler);
    cluster.baton("dataset", "push", "digits", digits.toString()).orFail();
  }

  private static void trainsOnUntilThereIsRoom(LocalCluster cluster, Path disk) throws Exception {
    Path filler = fill(disk);
    String job = cluster.submit(JOB);
    try (Watch watch = Watch.of(cluster, job)) {
      watch.await(
          0,
          Duration.ofMinutes(2),
          e -> e.path("message").asText().contains("no space left on the coordinator's disk"));
      int full = watch.mark();
      assertThat(cluster.baton("show", job, "--why").orFail())
          .startsWith("RUNNING: ")
          .contains("cannot store", disk.toString());
      watch.await(full, Duration.ofMinutes(1), Watch::isStep);
      assertThat(cluster.show(job).get("checkpoints")).isEmpty();
      Files.delete(filler);
      JsonNode end = cluster.await(job, Duration.ofMinutes(3));
      assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
      assertThat(end.get("attempts")).as("%s", end).hasSize(1);
      assertThat(watch.events()).anyMatch(Watch::isCheckpoint);
    }
  }
}
