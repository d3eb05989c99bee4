package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.baton.deploy.Namespaces.Result;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Workers that reach the coordinator from behind NAT, and that nobody reaches. */
class NatIT {
  private static final String JOB =
      """
      name: behind-nat
      model: {builtin: {name: linear}}
      data:
        train: {synthetic: {regression: {samples: 200000}}, shuffle: false}
      training:
        epochs: 8000
        batch_size: 200000
        optimizer: {adam: {lr: 0.1}}
        loss: mse
        seed: 7
      checkpoint: {interval: 1h}
      """;

  @TempDir Path dir;
  private final String launcher = LocalCluster.root().resolve("deploy/bin/baton").toString();

  private Path adminToken() {
    return dir.resolve("data/admin.token");
  }

  private Daemon worker(NatNetwork network, String home) throws Exception {
    return Daemon.start(
        home,
        network.at(
            home,
            List.of(
                launcher,
                "worker",
                "--token-file",
                dir.resolve("worker.token").toString(),
                "--work-dir",
                dir.resolve(home).toString(),
                "--name",
                home)),
        // No address but the token's.
        Map.of("BATON_COORDINATOR", ""),
        dir.resolve(home + ".err"));
  }

  private String baton(NatNetwork network, String... verb) throws Exception {
    List<String> command =
        new ArrayList<>(
            List.of(
                launcher,
                "--token-file",
                adminToken().toString(),
                "--coordinator",
                NatNetwork.SERVER + ":7070"));
    command.addAll(List.of(verb));
    Result result = Namespaces.run(network.at("server", command));
    assertThat(result.exit()).as("%s: %s", command, result.text()).isZero();
    List<String> lines = result.text().lines().toList();
    return lines.get(lines.size() - 1);
  }

  private JsonNode show(NatNetwork network, String job) throws Exception {
    return LocalCluster.JSON.readTree(baton(network, "show", job, "-o", "json"));
  }

  @Test
  void aJobMovesBetweenWorkersThatHaveNoWayToEachOther() throws Exception {
    assumeTrue(Namespaces.possible(), "root and network namespaces are needed");
    try (NatNetwork network = new NatNetwork()) {
      System.out.println(
          network.translated()
              ? "addresses are translated"
              : "no nft: the server has routes to the workers, they have none to each other");
      // Ports of a network of its own.
      try (Daemon coordinator =
          Daemon.start(
              "coordinator",
              network.at(
                  "server",
                  List.of(
                      launcher,
                      "coordinator",
                      "--data-dir",
                      dir.resolve("data").toString(),
                      "--listen",
                      "0.0.0.0:7070",
                      "--http",
                      "0.0.0.0:7071",
                      "--objects",
                      "0.0.0.0:7072")),
              Map.of(),
              dir.resolve("coordinator.err"))) {
        assertThat(coordinator.ready("grpc")).isEqualTo("0.0.0.0:7070");
        assertThat(adminToken())
            .as("the address that others can use")
            .content()
            .endsWith("." + NatNetwork.SERVER + ":7070\n");
        String token = baton(network, "token", "create", "--role", "worker");
        assertThat(token).doesNotContain(".plain.").endsWith("." + NatNetwork.SERVER + ":7070");
        Files.writeString(dir.resolve("worker.token"), token);
        handOver(network);
      }
    }
  }

  private void handOver(NatNetwork network) throws Exception {
    try (Daemon one = worker(network, "home1");
        Daemon two = worker(network, "home2")) {
      Result across =
          Namespaces.run(
              network.at("home1", List.of("timeout", "2", "bash", "-c", "</dev/tcp/10.77.2.2/9")));
      assertThat(across.exit()).isNotZero();
      assertThat(across.text()).as("nobody is reached who could refuse").doesNotContain("refused");
      Path file = Files.writeString(dir.resolve("job.yaml"), JOB);
      String job = baton(network, "submit", file.toString());
      JsonNode running = show(network, job);
      for (long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(2);
          running.at("/attempts/0/last_step").asLong() < 1 && System.nanoTime() < end;
          running = show(network, job)) {
        TimeUnit.MILLISECONDS.sleep(200);
      }
      assertThat(running.get("state").asText()).as("%s", running).isEqualTo("RUNNING");
      Daemon holder = running.at("/attempts/0/workers/0").asText().equals(one.name()) ? one : two;
      assertThat(holder.terminate(Duration.ofSeconds(60))).isZero();
      var unused = baton(network, "wait", job, "--timeout", "240s");
      JsonNode end = show(network, job);
      assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
      assertThat(end.get("attempts")).as("%s", end).hasSize(2);
      assertThat(end.at("/attempts/1/workers/0").asText())
          .isEqualTo(holder == one ? two.name() : one.name());
      long handedOver = end.at("/attempts/0/last_step").asLong();
      assertThat(handedOver).isPositive();
      assertThat(end.at("/attempts/1/first_step").asLong())
          .as("no step is lost: %s", end)
          .isEqualTo(handedOver + 1);
    }
  }
}
