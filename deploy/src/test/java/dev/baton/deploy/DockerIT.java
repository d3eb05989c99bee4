package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The images and the compose file, where there is an engine with Compose: the images are built, all
 * is started, and a job is trained with its objects in MinIO.
 */
class DockerIT {
  private static final Path DEPLOY = LocalCluster.root().resolve("deploy");
  private static final String JOB =
      """
      name: line
      model: {builtin: {name: linear, in_features: 2, out_features: 1}}
      data: {train: {synthetic: {regression: {samples: 1000}}}}
      training:
        epochs: 3
        batch_size: 100
        optimizer: {adam: {lr: 0.1}}
        loss: mse
      """;

  @TempDir Path dir;
  private Path context;
  private boolean up;

  @BeforeEach
  void prepare() throws Exception {
    assumeTrue(exit("docker", "info") == 0, "no Docker engine runs here");
    assumeTrue(exit("docker", "compose", "version") == 0, "Docker has no Compose here");
    Path archives = ReleaseArchives.build();
    // As deploy/ is after deploy/release.
    context = dir.resolve("deploy");
    copy(DEPLOY.resolve("docker"), context.resolve("docker"));
    copy(archives, context.resolve("target/release"));
    Files.writeString(
        context.resolve("docker/.env"),
        "BATON_HOST=" + gateway() + "\nMINIO_ROOT_PASSWORD=of-this-test-alone\n");
  }

  /** An address of this machine that containers reach too. */
  private String gateway() throws IOException, InterruptedException {
    return run(
        List.of(
            "docker",
            "network",
            "inspect",
            "bridge",
            "--format",
            "{{(index .IPAM.Config 0).Gateway}}"));
  }

  @AfterEach
  void stop() throws Exception {
    if (up) {
      compose("down", "--volumes");
    }
  }

  private static void copy(Path from, Path to) throws IOException {
    Files.createDirectories(to);
    try (Stream<Path> files = Files.list(from)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        Files.copy(file, to.resolve(file.getFileName()));
      }
    }
  }

  private static int exit(String... command) throws InterruptedException {
    try {
      return new ProcessBuilder(command)
          .redirectOutput(ProcessBuilder.Redirect.DISCARD)
          .redirectError(ProcessBuilder.Redirect.DISCARD)
          .start()
          .waitFor();
    } catch (IOException e) {
      return 127;
    }
  }

  private String compose(String... arguments) throws IOException, InterruptedException {
    List<String> command =
        new ArrayList<>(
            List.of(
                "docker",
                "compose",
                "--project-name",
                "baton-test",
                "-f",
                context.resolve("docker/compose.yaml").toString()));
    command.addAll(List.of(arguments));
    return run(command);
  }

  private String run(List<String> command) throws IOException, InterruptedException {
    Path out = Files.createTempFile(dir, "docker", ".out");
    Path err = Files.createTempFile(dir, "docker", ".err");
    Process process =
        new ProcessBuilder(command)
            .redirectInput(Path.of("/dev/null").toFile())
            .redirectOutput(out.toFile())
            .redirectError(err.toFile())
            .start();
    boolean ended = process.waitFor(15, TimeUnit.MINUTES);
    String text = Files.readString(out);
    if (!ended || process.exitValue() != 0) {
      process.destroyForcibly();
      throw new IOException(String.join(" ", command) + ": " + text + Files.readString(err));
    }
    return text.strip();
  }

  /** Calls the client in the coordinator's container, with a word of bash behind it. */
  private String baton(String words) throws IOException, InterruptedException {
    return compose(
        "exec",
        "-T",
        "coordinator",
        "bash",
        "-euc",
        "export BATON_TOKEN=$(cat /var/lib/baton/admin.token); baton " + words);
  }

  @Test
  void aJobIsTrainedInContainers() throws Exception {
    up = true;
    compose("up", "--build", "--detach");
    String job = baton("submit /dev/stdin <<'END'\n" + JOB + "END");
    baton("wait " + job + " --timeout " + Duration.ofMinutes(5).toSeconds() + "s");
    JsonNode shown = LocalCluster.JSON.readTree(baton("show " + job + " -o json"));
    assertThat(shown.get("state").asText()).as("%s", shown).isEqualTo("SUCCEEDED");
    assertThat(compose("exec", "-T", "worker", "id", "-u")).isEqualTo("10001");
    assertThat(compose("exec", "-T", "minio", "ls", "/data")).contains("baton");
  }
}
