package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A coordinator on the server of a network of namespaces, workers elsewhere in it that know no
 * address but their token's, and the client beside the coordinator.
 */
final class NamespaceCluster implements AutoCloseable {
  /** A network with a place that is called server. */
  interface Network {
    /** A command line that runs in a place. */
    List<String> at(String place, List<String> command);
  }

  private final String launcher = LocalCluster.root().resolve("deploy/bin/baton").toString();
  private final Path dir;
  private final Network network;
  private final String server;
  private final List<Daemon> daemons = new ArrayList<>();

  /**
   * Starts the coordinator, at all of the server's addresses.
   *
   * @param server the address that the others reach it by
   */
  NamespaceCluster(Path dir, Network network, String server) throws Exception {
    this.dir = dir;
    this.network = network;
    this.server = server;
    Daemon coordinator =
        Daemon.start(
            "coordinator",
            network.at(
                "server",
                // Ports of a network of its own.
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
            dir.resolve("coordinator.err"));
    daemons.add(coordinator);
    try {
      assertThat(coordinator.ready("grpc")).isEqualTo("0.0.0.0:7070");
      assertThat(adminToken())
          .as("the address that others can use")
          .content()
          .endsWith("." + server + ":7070\n");
      String token = lastLine(baton("token", "create", "--role", "worker"));
      assertThat(token).doesNotContain(".plain.").endsWith("." + server + ":7070");
      Files.writeString(dir.resolve("worker.token"), token);
    } catch (Exception | AssertionError e) {
      close();
      throw e;
    }
  }

  private Path adminToken() {
    return dir.resolve("data/admin.token");
  }

  /** Starts a worker that is called as the place where it runs. */
  Daemon startWorker(String place, String... more) throws Exception {
    List<String> command =
        new ArrayList<>(
            List.of(
                launcher,
                "worker",
                "--token-file",
                dir.resolve("worker.token").toString(),
                "--work-dir",
                dir.resolve(place).toString(),
                "--name",
                place));
    command.addAll(List.of(more));
    Daemon worker =
        Daemon.start(
            place,
            network.at(place, command),
            Map.of("BATON_COORDINATOR", ""),
            dir.resolve(place + ".err"));
    daemons.add(worker);
    return worker;
  }

  private List<String> client(String... verb) {
    List<String> command =
        new ArrayList<>(
            List.of(
                launcher,
                "--token-file",
                adminToken().toString(),
                "--coordinator",
                server + ":7070"));
    command.addAll(List.of(verb));
    return network.at("server", command);
  }

  /** What a call of the client says, which must succeed. */
  String baton(String... verb) throws Exception {
    Namespaces.Result result = Namespaces.run(client(verb));
    assertThat(result.exit()).as("%s: %s", List.of(verb), result.text()).isZero();
    return result.text();
  }

  private static String lastLine(String text) {
    return text.substring(text.lastIndexOf('\n') + 1);
  }

  /** Submits a job file's text; its id. */
  String submit(String yaml) throws Exception {
    Path file = Files.writeString(dir.resolve("job.yaml"), yaml);
    return lastLine(baton("submit", file.toString()));
  }

  /** {@code baton watch JOB -o json}, running beside. */
  Watch watch(String job) throws Exception {
    return Watch.of(new ProcessBuilder(client("watch", job, "-o", "json")), dir, job);
  }

  /** {@code baton show JOB -o json}. */
  JsonNode show(String job) throws Exception {
    return LocalCluster.JSON.readTree(baton("show", job, "-o", "json"));
  }

  @Override
  public void close() {
    daemons.forEach(Daemon::close);
  }
}
