package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Bad input: one clear line, the right exit code, nothing half done, and the daemons go on. */
class BadInputIT {
  @TempDir static Path dir;
  private static LocalCluster cluster;

  private static final String JOB =
      """
      name: small
      model: {builtin: {name: mnist-cnn, num_classes: 10}}
      data:
        train: {dataset: digits, split: train}
      training:
        max_steps: 5
        batch_size: 8
        optimizer: {sgd: {lr: 0.01}}
        loss: cross_entropy
      """;

  @BeforeAll
  static void start() throws Exception {
    cluster = LocalCluster.start(dir.resolve("cluster"));
    cluster.startWorker("worker");
    DrawDigits.write(dir.resolve("digits"), 200, 50, 1);
    cluster.baton("dataset", "push", "digits", dir.resolve("digits").toString()).orFail();
  }

  @AfterAll
  static void stop() throws Exception {
    try {
      JsonNode end = cluster.await(cluster.submit(JOB), Duration.ofMinutes(2));
      assertThat(end.get("state").asText()).as("the daemons go on: %s", end).isEqualTo("SUCCEEDED");
    } finally {
      cluster.close();
    }
  }

  private static void refused(LocalCluster.Output output, int exit, String... words) {
    assertThat(output.err().strip().lines()).as(output.err()).hasSize(1);
    assertThat(output.err()).contains(words);
    assertThat(output.exit()).as(output.err()).isEqualTo(exit);
    assertThat(output.out()).isEmpty();
  }

  private static LocalCluster.Output submit(String yaml) throws Exception {
    Path file = Files.createTempFile(dir, "job", ".yaml");
    Files.writeString(file, yaml);
    int before = jobs();
    LocalCluster.Output output = cluster.baton("submit", file.toString());
    assertThat(jobs()).as("nothing half done").isEqualTo(before);
    return output;
  }

  private static int jobs() throws Exception {
    return LocalCluster.JSON.readTree(cluster.baton("jobs", "-o", "json").orFail()).size();
  }

  private static LocalCluster.Output push(Path path, String format) throws Exception {
    String before = cluster.baton("dataset", "ls", "-o", "json").orFail();
    LocalCluster.Output output =
        cluster.baton("dataset", "push", "bad", path.toString(), "--format", format);
    assertThat(cluster.baton("dataset", "ls", "-o", "json").orFail()).isEqualTo(before);
    return output;
  }

  @Test
  void misspeltKey() throws Exception {
    refused(submit(JOB.replace("max_steps", "max_step")), 2, "max_step", "max_steps");
  }

  @Test
  void wrongType() throws Exception {
    refused(submit(JOB.replace("batch_size: 8", "batch_size: eight")), 2, "training.batch_size");
  }

  @Test
  void negativeBatchSize() throws Exception {
    refused(submit(JOB.replace("batch_size: 8", "batch_size: -8")), 2, "training.batch_size", "-8");
  }

  @Test
  void dataSetThatDoesNotExist() throws Exception {
    refused(submit(JOB.replace("dataset: digits", "dataset: digit")), 1, "digit");
  }

  @Test
  void labelsBeyondTheClasses() throws Exception {
    LocalCluster.Output output = submit(JOB.replace("num_classes: 10", "num_classes: 3"));
    refused(output, output.exit() == 2 ? 2 : 1, "num_classes", "3", "10");
  }

  @Test
  void picturesThatTheModelCannotTake() throws Exception {
    LocalCluster.Output output = submit(JOB.replace("mnist-cnn", "lenet"));
    refused(output, output.exit() == 2 ? 2 : 1, "lenet", "3");
  }

  @Test
  void truncatedGzip() throws Exception {
    Path bad = dir.resolve("truncated");
    DrawDigits.write(bad, 50, 20, 1);
    Path file = bad.resolve("train-images-idx3-ubyte.gz");
    byte[] bytes = Files.readAllBytes(file);
    Files.write(file, Arrays.copyOf(bytes, bytes.length / 2));
    refused(push(bad, "idx"), 2, "train-images-idx3-ubyte.gz");
  }

  @Test
  void tarThatClimbsOutOfItsFolder() throws Exception {
    Path tar = dir.resolve("climbs.tar");
    writeTar(tar, "train/cat/../../../evil.png", new byte[] {1, 2, 3});
    refused(push(tar, "image-folder"), 2, "climbs.tar", "..");
  }

  @Test
  void pictureThatDoesNotDecode() throws Exception {
    Path tar = dir.resolve("damaged.tar");
    writeTar(tar, "train/cat/0001.jpg", "no picture".getBytes(StandardCharsets.UTF_8));
    refused(push(tar, "image-folder"), 2, "train/cat/0001.jpg");
  }

  /**
   * A ustar archive (POSIX.1-1988) of one file; written by hand, since a tool might refuse the
   * name.
   */
  private static void writeTar(Path file, String name, byte[] content) throws IOException {
    byte[] header = new byte[512];
    put(header, 0, name);
    put(header, 100, "0000644");
    put(header, 108, "0000000");
    put(header, 116, "0000000");
    put(header, 124, String.format("%011o", content.length));
    put(header, 136, "00000000000");
    put(header, 156, "0");
    put(header, 257, "ustar");
    put(header, 263, "00");
    Arrays.fill(header, 148, 156, (byte) ' ');
    int sum = 0;
    for (byte b : header) {
      sum += b & 0xFF;
    }
    put(header, 148, String.format("%06o", sum));
    header[154] = 0;
    try (OutputStream out = Files.newOutputStream(file)) {
      out.write(header);
      out.write(Arrays.copyOf(content, 512));
      out.write(new byte[1024]);
    }
  }

  private static void put(byte[] target, int at, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.US_ASCII);
    System.arraycopy(bytes, 0, target, at, bytes.length);
  }

  @Test
  void wrongToken() throws Exception {
    LocalCluster.Output output = cluster.baton("jobs", "--token", "baton-wrong");
    refused(output, 1, "token");
  }

  @Test
  void expiredToken() throws Exception {
    List<String> lines =
        cluster.baton("token", "create", "--role", "user", "--ttl", "1s").orFail().lines().toList();
    String token = lines.get(lines.size() - 1);
    Thread.sleep(1_500);
    refused(cluster.baton("jobs", "--token", token), 1, "token", "expired");
  }

  @Test
  void roleThatMayNot() throws Exception {
    List<String> lines =
        cluster.baton("token", "create", "--role", "worker").orFail().lines().toList();
    refused(cluster.baton("jobs", "--token", lines.get(lines.size() - 1)), 1, "worker");
  }

  @Test
  void messageOverTheLimit() throws Exception {
    StringBuilder transforms = new StringBuilder("  transforms:\n");
    for (int i = 0; i < 300_000; i++) {
      transforms.append("    - {normalize: {mean: [0.5], std: [0.5]}}\n");
    }
    LocalCluster.Output output = submit(JOB.replace("training:\n", transforms + "training:\n"));
    refused(output, output.exit() == 2 ? 2 : 1, "MiB");
  }

  @Test
  void portInUse() throws Exception {
    Process second =
        new ProcessBuilder(
                LocalCluster.root().resolve("deploy/bin/baton").toString(),
                "coordinator",
                "--data-dir",
                dir.resolve("other").toString(),
                "--listen",
                cluster.address(),
                "--http",
                "127.0.0.1:0",
                "--objects",
                "127.0.0.1:0")
            .redirectErrorStream(true)
            .start();
    String out = new String(second.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(second.waitFor()).as(out).isIn(1, 2);
    assertThat(out).contains(cluster.address()).contains("in use").doesNotContain("\tat ");
  }

  @Test
  void coordinatorThatIsNotThere() throws Exception {
    refused(cluster.baton("jobs", "--coordinator", "127.0.0.1:1"), 5, "127.0.0.1:1");
  }
}
