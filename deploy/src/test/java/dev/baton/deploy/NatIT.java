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
      checkpoint: {interval: 1h}
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
      handOver(cluster, one, two);
    }
  }

  private static void handOver(NamespaceCluster cluster, Daemon one, Daemon two) throws Exception {
    String job = cluster.submit(JOB);
    Daemon holder;
    try (Watch watch = cluster.watch(job)) {
      holder = watch.awaitReplicas(0, 1, LIMIT).contains(one.name()) ? one : two;
      assertThat(holder.terminate(Duration.ofSeconds(60))).isZero();
    }
    cluster.baton("wait", job, "--timeout", LIMIT.toSeconds() + "s");
    JsonNode end = cluster.show(job);
    assertThat(end.get("state").asText()).as("%s", end).isEqualTo("SUCCEEDED");
    assertThat(end.get("attempts")).as("%s", end).hasSize(2);
    assertThat(end.at("/attempts/0/workers/0").asText()).isEqualTo(holder.name());
    assertThat(end.at("/attempts/1/workers/0").asText())
        .isEqualTo(holder == one ? two.name() : one.name());
    long handedOver = end.at("/attempts/0/last_step").asLong();
    assertThat(handedOver).isPositive();
    assertThat(end.at("/attempts/1/first_step").asLong())
        .as("no step is lost: %s", end)
        .isEqualTo(handedOver + 1);
  }
}
