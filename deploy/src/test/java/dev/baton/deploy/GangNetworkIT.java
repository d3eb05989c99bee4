package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
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

  @TempDir Path dir;
  private final String launcher = LocalCluster.root().resolve("deploy/bin/baton").toString();

  private Daemon worker(PrivateNetwork network, int host, String... more) throws Exception {
    String name = PrivateNetwork.name(host);
    List<String> command =
        new ArrayList<>(
            List.of(
                launcher,
                "worker",
                "--token-file",
                dir.resolve("worker.token").toString(),
                "--work-dir",
                dir.resolve(name).toString(),
                "--name",
                name));
    command.addAll(List.of(more));
    return Daemon.start(
        name,
        network.at(name, command),
        // No address but the token's.
        Map.of("BATON_COORDINATOR", ""),
        dir.resolve(name + ".err"));
  }

  private Daemon advertised(PrivateNetwork network, int host) throws Exception {
    return worker(network, host, "--advertise", PrivateNetwork.address(host));
  }

  private String baton(PrivateNetwork network, String... verb) throws Exception {
    List<String> command =
        new ArrayList<>(
            List.of(
                launcher,
                "--token-file",
                dir.resolve("data/admin.token").toString(),
                "--coordinator",
                PrivateNetwork.SERVER + ":7070"));
    command.addAll(List.of(verb));
    Namespaces.Result result = Namespaces.run(network.at("server", command));
    assertThat(result.exit()).as("%s: %s", command, result.text()).isZero();
    return result.text();
  }

  private static String lastLine(String text) {
    List<String> lines = text.lines().toList();
    return lines.get(lines.size() - 1);
  }

  private JsonNode show(PrivateNetwork network, String job) throws Exception {
    return LocalCluster.JSON.readTree(baton(network, "show", job, "-o", "json"));
  }

  /** The job, once its newest attempt is as wanted. */
  private JsonNode await(
      PrivateNetwork network, String job, String what, Predicate<JsonNode> wanted)
      throws Exception {
    JsonNode now = show(network, job);
    for (long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(2);
        now.get("attempts").isEmpty() || !wanted.test(newest(now));
        now = show(network, job)) {
      assertThat(System.nanoTime()).as("%s: %s", what, now).isLessThan(end);
      TimeUnit.MILLISECONDS.sleep(100);
    }
    return now;
  }

  private static JsonNode newest(JsonNode job) {
    JsonNode attempts = job.get("attempts");
    return attempts.get(attempts.size() - 1);
  }

  private static boolean steps(JsonNode attempt, int replicas) {
    return attempt.get("workers").size() == replicas && attempt.get("last_step").asLong(0) > 0;
  }

  private interface Cluster {
    void run(PrivateNetwork network) throws Exception;
  }

  private void withCoordinator(int hosts, Cluster then) throws Exception {
    assumeTrue(Namespaces.possible(), "root and network namespaces are needed");
    try (PrivateNetwork network = new PrivateNetwork(hosts);
        Daemon coordinator =
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
      assertThat(coordinator.isAlive()).isTrue();
      Files.writeString(
          dir.resolve("worker.token"),
          lastLine(baton(network, "token", "create", "--role", "worker")));
      then.run(network);
    }
  }

  private String submit(PrivateNetwork network, int min) throws Exception {
    Path file = Files.writeString(dir.resolve("job.yaml"), JOB.formatted(min));
    return lastLine(baton(network, "submit", file.toString()));
  }

  @EnabledIfSystemProperty(named = "baton.test.long", matches = "true")
  @Test
  void aMachineThatIsLostWithoutAWordIsDroppedSoon() throws Exception {
    withCoordinator(
        3,
        network -> {
          try (Daemon one = advertised(network, 1);
              Daemon two = advertised(network, 2);
              Daemon three = advertised(network, 3)) {
            assertThat(List.of(one, two, three)).allMatch(Daemon::isAlive);
            String job = submit(network, 1);
            JsonNode before = await(network, job, "three replicas", a -> steps(a, 3));
            for (int lost : new int[] {3, 1}) {
              int left = newest(before).get("workers").size() - 1;
              long begin = System.nanoTime();
              network.unplug(lost);
              before = await(network, job, left + " replicas", a -> steps(a, left));
              double seconds = (System.nanoTime() - begin) / 1e9;
              System.out.printf("host%d unplugged: the others step after %.1f s%n", lost, seconds);
              // Far below the ten minutes after which c10d would find out by itself.
              assertThat(seconds).isLessThan(60);
              expectNoStepLost(before);
            }
          }
        });
  }

  private static void expectNoStepLost(JsonNode job) {
    JsonNode attempts = job.get("attempts");
    for (int i = 1; i < attempts.size(); i++) {
      assertThat(attempts.get(i).get("first_step").asLong(Long.MAX_VALUE))
          .as("%s", attempts)
          .isGreaterThan(attempts.get(i - 1).get("last_step").asLong(0));
    }
  }

  @Test
  void twoMachinesThatNoLongerReachEachOtherPartWithoutLosingAStep() throws Exception {
    withCoordinator(
        2,
        network -> {
          try (Daemon one = advertised(network, 1);
              Daemon two = advertised(network, 2)) {
            assertThat(List.of(one, two)).allMatch(Daemon::isAlive);
            String job = submit(network, 1);
            await(network, job, "two replicas", a -> steps(a, 2));
            network.isolate(1);
            network.isolate(2);
            // Nothing is closed: what each sends the other is lost.
            JsonNode after = await(network, job, "one replica", a -> steps(a, 1));
            expectNoStepLost(after);
          }
        });
  }

  @Test
  void aGangStaysOnOneMachineWhereTheOthersAreNotReached() throws Exception {
    withCoordinator(
        2,
        network -> {
          network.isolate(1);
          network.isolate(2);
          try (Daemon one = advertised(network, 1);
              Daemon two = advertised(network, 2)) {
            assertThat(List.of(one, two)).allMatch(Daemon::isAlive);
            String job = submit(network, 2);
            String why = "";
            for (long end = System.nanoTime() + Duration.ofMinutes(1).toNanos();
                !why.contains("reach") && System.nanoTime() < end;
                why = baton(network, "show", job, "--why")) {
              TimeUnit.MILLISECONDS.sleep(300);
            }
            assertThat(why).contains("host1").contains("host2").contains("reach");
          }
        });
  }
}
