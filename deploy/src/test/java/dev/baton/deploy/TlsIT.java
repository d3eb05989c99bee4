package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import dev.baton.deploy.LocalCluster.Output;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Workers and clients that know a token and nothing else. */
class TlsIT {
  private static final String JOB =
      """
      name: encrypted
      model: {builtin: {name: mnist-cnn, num_classes: 10}}
      data:
        train: {dataset: digits, split: train}
      training:
        max_steps: 20
        batch_size: 32
        optimizer: {sgd: {lr: 0.02}}
        loss: cross_entropy
        seed: 3
      """;

  @TempDir Path dir;
  private Path launcher;
  private Path digits;

  @BeforeEach
  void draw() throws Exception {
    launcher = LocalCluster.root().resolve("deploy/bin/baton");
    digits = dir.resolve("digits");
    DrawDigits.write(digits, 200, 50, 5);
  }

  private static Map<String, String> with(Map<String, String> more, String token) {
    Map<String, String> environment = new HashMap<>(more);
    environment.put("BATON_TOKEN", token);
    return environment;
  }

  /** A command that finds the coordinator by its token alone. */
  private Output baton(Map<String, String> environment, String... args) throws Exception {
    List<String> command = new ArrayList<>(List.of(launcher.toString()));
    command.addAll(List.of(args));
    Path out = Files.createTempFile(dir, "out", "");
    Path err = Files.createTempFile(dir, "err", "");
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectOutput(out.toFile()).redirectError(err.toFile());
    builder.environment().remove("BATON_COORDINATOR");
    builder.environment().putAll(environment);
    Process process = builder.start();
    process.getOutputStream().close();
    assertThat(process.waitFor(3, TimeUnit.MINUTES)).as(String.join(" ", command)).isTrue();
    return new Output(process.exitValue(), Files.readString(out), Files.readString(err));
  }

  private Daemon worker(String token, Map<String, String> environment) throws Exception {
    Path file = Files.writeString(dir.resolve("worker.token"), token + "\n");
    return Daemon.start(
        "worker",
        List.of(
            launcher.toString(),
            "worker",
            "--token-file",
            file.toString(),
            "--work-dir",
            dir.resolve("worker").toString()),
        environment,
        dir.resolve("worker.err"));
  }

  private static String lastLine(Output output) throws IOException {
    List<String> lines = output.orFail().lines().toList();
    return lines.get(lines.size() - 1);
  }

  /** Everything that moves objects or speaks gRPC, once; the worker's token. */
  private String runAJob(LocalCluster cluster, Map<String, String> environment) throws Exception {
    Map<String, String> admin = with(environment, Files.readString(cluster.adminToken()).strip());
    String token = lastLine(baton(admin, "token", "create", "--role", "worker"));
    baton(admin, "dataset", "push", "digits", digits.toString(), "--format", "idx").orFail();
    try (Daemon worker = worker(token, environment)) {
      Path file = Files.writeString(dir.resolve("job.yaml"), JOB);
      String job = lastLine(baton(admin, "submit", file.toString()));
      baton(admin, "wait", job, "--timeout", "120s").orFail();
      JsonNode end = LocalCluster.JSON.readTree(baton(admin, "show", job, "-o", "json").orFail());
      assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
      Path model = dir.resolve("model.safetensors");
      baton(admin, "artifacts", "get", job, "model.safetensors", "-O", model.toString()).orFail();
      assertThat(Safetensors.read(model).sha256())
          .isEqualTo(end.at("/result/weights_sha256").asText());
      assertThat(worker.isAlive()).isTrue();
    }
    return token;
  }

  private static String withAddress(String token, String address) {
    String[] parts = token.split("\\.", 3);
    return parts[0] + "." + parts[1] + "." + address;
  }

  @Test
  void theTokenIsAllThatIsNeededAndNoImpostorGetsIt() throws Exception {
    String token;
    try (LocalCluster cluster = LocalCluster.start(dir.resolve("cluster"), "127.0.0.1", "--tls")) {
      token = runAJob(cluster, Map.of());
      assertThat(token).endsWith("." + cluster.address());
    }
    String secret = token.substring(0, token.indexOf('.'));
    for (boolean tls : new boolean[] {true, false}) {
      try (Impostor impostor = new Impostor(tls)) {
        String lured = withAddress(token, impostor.address());
        String why = tls ? "has another key than the token names" : "does not speak TLS";
        Output client = baton(Map.of("BATON_TOKEN", lured), "jobs");
        assertThat(client.exit()).as(client.err()).isEqualTo(1);
        assertThat(client.err()).startsWith("error: ").contains(why).hasLineCount(1);
        Output worker =
            baton(
                Map.of("BATON_TOKEN", lured),
                "worker",
                "--work-dir",
                dir.resolve("lured").toString());
        assertThat(worker.exit()).as(worker.err()).isEqualTo(1);
        assertThat(worker.err().lines().filter(line -> line.startsWith("error: ")))
            .singleElement()
            .asString()
            .contains(why, impostor.address());
        assertThat(impostor.callers()).isGreaterThanOrEqualTo(2);
        assertThat(impostor.heard()).doesNotContain(secret.substring(15), "bearer", "Bearer");
        if (tls) {
          assertThat(impostor.heard()).as("said after a handshake").isEmpty();
        }
      }
    }
  }

  @Test
  void everythingGoesThroughTheProxyAndNothingAroundIt() throws Exception {
    // RFC 6761: a name that no resolver knows.
    String host = "coordinator.test";
    try (ConnectProxy proxy = new ConnectProxy(host, "me:p@ss");
        LocalCluster cluster =
            LocalCluster.start(dir.resolve("cluster"), "127.0.0.1", "--tls", "--advertise", host)) {
      String token =
          runAJob(
              cluster,
              Map.of("HTTPS_PROXY", "http://me:p%40ss@127.0.0.1:" + proxy.port(), "NO_PROXY", ""));
      String grpc = host + cluster.address().substring(cluster.address().lastIndexOf(':'));
      assertThat(token).endsWith("." + grpc);
      assertThat(proxy.refused()).isEmpty();
      assertThat(proxy.tunnels()).contains(grpc).anyMatch(to -> !to.equals(grpc));
    }
  }
}
