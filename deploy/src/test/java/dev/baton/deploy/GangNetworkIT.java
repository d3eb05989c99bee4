package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Replicas on machines of a private network, whose cables are pulled. */
class GangNetworkIT {
  private static final String JOB =
      """
      name: across-machines
      model: {builtin: {name: linear}}
      data:
        train: {synthetic: {regression: {samples: 20000}}, shuffle: true}
      training:
        epochs: 100000
        batch_size: 2000
        optimizer: {adam: {lr: 0.1}}
        loss: mse
        seed: 7
      replicas: {min: %d, max: 3, shards: 3}
      checkpoint: {interval: 1h}
      """;

  private static final Duration LIMIT = Duration.ofMinutes(4);

  @TempDir Path dir;

  private interface Scenario {
    void run(PrivateNetwork network, NamespaceCluster cluster) throws Exception;
  }

  private void withCluster(int hosts, Scenario then) throws Exception {
    assumeTrue(Namespaces.possible(), "root and network namespaces are needed");
    try (PrivateNetwork network = new PrivateNetwork(hosts);
        NamespaceCluster cluster = new NamespaceCluster(dir, network, PrivateNetwork.SERVER)) {
      then.run(network, cluster);
    }
  }

  private static void startWorkers(NamespaceCluster cluster, int hosts) throws Exception {
    for (int host = 1; host <= hosts; host++) {
      cluster.startWorker(PrivateNetwork.name(host), "--advertise", PrivateNetwork.address(host));
    }
  }

  @Test
  void aMachineThatIsLostWithoutAWordIsDroppedSoon() throws Exception {
    withCluster(
        3,
        (network, cluster) -> {
          startWorkers(cluster, 3);
          String job = cluster.submit(JOB.formatted(1));
          try (Watch watch = cluster.watch(job)) {
            watch.awaitReplicas(0, 3, LIMIT);
            int left = 3;
            for (int lost : new int[] {3, 1}) {
              int mark = watch.mark();
              long begin = System.nanoTime();
              network.unplug(lost);
              watch.awaitReplicas(mark, --left, LIMIT);
              double seconds = (System.nanoTime() - begin) / 1e9;
              System.out.printf("host%d unplugged: the others step after %.1f s%n", lost, seconds);
              // Far below the ten minutes after which c10d would find out by itself.
              assertThat(seconds).isLessThan(60);
              expectNoStepLost(cluster.show(job));
            }
          }
        });
  }

  private static void expectNoStepLost(JsonNode job) {
    long last = 0;
    for (JsonNode attempt : job.get("attempts")) {
      assertThat(attempt.get("first_step").asLong(Long.MAX_VALUE))
          .as("%s", job)
          .isGreaterThan(last);
      last = Math.max(last, attempt.get("last_step").asLong(0));
    }
  }

  @Test
  void twoMachinesThatNoLongerReachEachOtherPartWithoutLosingAStep() throws Exception {
    withCluster(
        2,
        (network, cluster) -> {
          startWorkers(cluster, 2);
          String job = cluster.submit(JOB.formatted(1));
          try (Watch watch = cluster.watch(job)) {
            watch.awaitReplicas(0, 2, LIMIT);
            int mark = watch.mark();
            network.isolate(1);
            network.isolate(2);
            // Nothing is closed: what each sends the other is lost.
            watch.awaitReplicas(mark, 1, LIMIT);
            expectNoStepLost(cluster.show(job));
          }
        });
  }

  @Test
  void aGangStaysOnOneMachineWhereTheOthersAreNotReached() throws Exception {
    withCluster(
        2,
        (network, cluster) -> {
          network.isolate(1);
          network.isolate(2);
          startWorkers(cluster, 2);
          String job = cluster.submit(JOB.formatted(2));
          String why = "";
          for (long end = System.nanoTime() + LIMIT.toNanos();
              !why.contains("reach") && System.nanoTime() < end;
              why = cluster.baton("show", job, "--why")) {
            TimeUnit.MILLISECONDS.sleep(500);
          }
          assertThat(why).contains("host1").contains("host2").contains("reach");
        });
  }
}
