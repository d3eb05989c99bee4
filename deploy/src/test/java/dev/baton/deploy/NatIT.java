package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.baton.deploy.Namespaces.Result;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
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
      checkpoint: {interval: 1s}
      """;

  private static final Duration LIMIT = Duration.ofMinutes(4);

  @TempDir Path dir;

  @Test
  void aJobMovesBetweenWorkersThatHaveNoWayToEachOther() throws Exception {
    assumeTrue(Namespaces.possible(), "root and network namespaces are needed");
    try (NatNetwork network = new NatNetwork();
        NamespaceCluster cluster = new NamespaceCluster(dir, network, NatNetwork.SERVER)) {
      System.out.println(
          network.translated()
              ? "addresses are translated"
              : "no nft: the server has routes to the workers, they have none to each other");
      Daemon one = cluster.startWorker("home1");
      Daemon two = cluster.startWorker("home2");
      Result across =
          Namespaces.run(
              network.at("home1", List.of("timeout", "2", "bash", "-c", "</dev/tcp/10.77.2.2/9")));
      assertThat(across.exit()).isNotZero();
      assertThat(across.text()).as("nobody is reached who could refuse").doesNotContain("refused");
      if (network.translated()) {
        // What the server sees of the workers is their routers.
        Result peers =
            Namespaces.run(
                network.at(
                    "server", List.of("ss", "-Htn", "state", "established", "sport = 7070")));
        assertThat(peers.text())
            .contains("198.51.100.11", "198.51.100.12")
            .doesNotContain("10.77.");
      }
      move(cluster, one, two);
    }
  }

  /** SIGTERM to whoever has the job, then, once there is another again, kill -9 to the next. */
  private static void move(NamespaceCluster cluster, Daemon one, Daemon two) throws Exception {
    String job = cluster.submit(JOB);
    Daemon first;
    Daemon second;
    try (Watch watch = cluster.watch(job)) {
      first = watch.awaitReplicas(0, 1, LIMIT).contains(one.name()) ? one : two;
      second = first == one ? two : one;
      assertThat(first.terminate(Duration.ofSeconds(60))).isZero();
      int left = watch.mark();
      Daemon unused = cluster.startWorker(first.name());
      watch.await(
          left,
          LIMIT,
          event -> Watch.isStep(event) && event.at("/workers/0").asText().equals(second.name()));
      watch.await(watch.mark(), LIMIT, Watch::isCheckpoint);
      second.kill();
    }
    cluster.baton("wait", job, "--timeout", LIMIT.toSeconds() + "s");
    JsonNode end = cluster.show(job);
    assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
    assertThat(end.get("attempts")).as("%s", end).hasSize(3);
    assertThat(end.at("/attempts/0/workers/0").asText()).isEqualTo(first.name());
    assertThat(end.at("/attempts/1/workers/0").asText()).isEqualTo(second.name());
    assertThat(end.at("/attempts/2/workers/0").asText()).isEqualTo(first.name());
    long handedOver = end.at("/attempts/0/last_step").asLong();
    assertThat(handedOver).isPositive();
    assertThat(end.at("/attempts/1/first_step").asLong())
        .as("no step is lost: %s", end)
        .isEqualTo(handedOver + 1);
    assertThat(end.at("/attempts/2/first_step").asLong())
        .as("a checkpoint of the second attempt was read from behind NAT: %s", end)
        .isGreaterThan(handedOver + 1)
        .isLessThanOrEqualTo(end.at("/attempts/1/last_step").asLong() + 1);
  }
}
