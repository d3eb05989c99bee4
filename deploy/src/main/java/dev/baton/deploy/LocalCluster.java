package dev.baton.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * A coordinator and workers on this machine, each a real process, and the client to talk to them.
 */
final class LocalCluster implements AutoCloseable {
  static final JsonMapper JSON = new JsonMapper();

  private final Path launcher;
  private final Path dir;
  private final List<String> coordinatorArgs;
  private final String address;
  private final List<Daemon> workers = new ArrayList<>();
  private Daemon coordinator;
  private @Nullable Path workerToken;

  private LocalCluster(
      Path launcher, Path dir, List<String> coordinatorArgs, String address, Daemon coordinator) {
    this.launcher = launcher;
    this.dir = dir;
    this.coordinatorArgs = coordinatorArgs;
    this.address = address;
    this.coordinator = coordinator;
  }

  /**
   * What a client's call printed.
   *
   * @param exit its exit code
   */
  record Output(int exit, String out, String err) {
    /** Standard output, of a call that must succeed. */
    String orFail() throws IOException {
      if (exit != 0) {
        throw new IOException("exit " + exit + ": " + err.strip());
      }
      return out.strip();
    }
  }

  /**
   * The source tree or unpacked archive that this code belongs to: the nearest folder above with
   * deploy/bin/baton.
   */
  static Path root() {
    Path start = Path.of(System.getProperty("baton.root", "")).toAbsolutePath();
    for (Path p = start; p != null; p = p.getParent()) {
      if (Files.isExecutable(p.resolve("deploy/bin/baton"))) {
        return p;
      }
    }
    throw new IllegalStateException("no deploy/bin/baton in or above " + start);
  }

  /** Starts a coordinator on free ports of the loopback address. */
  static LocalCluster start(Path dir) throws IOException, InterruptedException {
    return start(dir, "127.0.0.1");
  }

  /**
   * As above.
   *
   * @param objectsHost where the embedded object store listens
   * @param more flags of the coordinator
   */
  static LocalCluster start(Path dir, String objectsHost, String... more)
      throws IOException, InterruptedException {
    Path launcher = root().resolve("deploy/bin/baton");
    // Chosen here and not by the coordinator, so that a restarted one gets the same.
    List<Integer> ports = freePorts(3);
    Files.createDirectories(dir);
    List<String> args =
        new ArrayList<>(
            List.of(
                launcher.toString(),
                "coordinator",
                "--data-dir",
                dir.resolve("coordinator").toString(),
                "--listen",
                "127.0.0.1:" + ports.get(0),
                "--http",
                "127.0.0.1:" + ports.get(1),
                "--objects",
                objectsHost + ":" + ports.get(2)));
    args.addAll(List.of(more));
    Daemon coordinator =
        Daemon.start("coordinator", args, Map.of(), dir.resolve("coordinator.err"));
    return new LocalCluster(launcher, dir, args, "127.0.0.1:" + ports.get(0), coordinator);
  }

  private static List<Integer> freePorts(int count) throws IOException {
    List<ServerSocket> sockets = new ArrayList<>();
    List<Integer> ports = new ArrayList<>();
    try {
      for (int i = 0; i < count; i++) {
        ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        sockets.add(socket);
        ports.add(socket.getLocalPort());
      }
    } finally {
      for (ServerSocket socket : sockets) {
        socket.close();
      }
    }
    return ports;
  }

  Path dir() {
    return dir;
  }

  /** HOST:PORT of gRPC. */
  String address() {
    return address;
  }

  Path adminToken() {
    return dir.resolve("coordinator/admin.token");
  }

  Path objects() {
    return dir.resolve("coordinator/objects");
  }

  /** HOST:PORT of the embedded object store. */
  String objectsAddress() {
    return coordinatorArgs.get(coordinatorArgs.indexOf("--objects") + 1);
  }

  Daemon coordinator() {
    return coordinator;
  }

  /** Starts the coordinator again, on the same data and ports, after it has ended. */
  void restartCoordinator() throws IOException, InterruptedException {
    coordinator =
        Daemon.start("coordinator", coordinatorArgs, Map.of(), dir.resolve("coordinator.err"));
  }

  /**
   * Starts a worker in a work directory named after it; returns when the coordinator has welcomed
   * it.
   */
  Daemon startWorker(String name, String... more) throws IOException, InterruptedException {
    List<String> args =
        new ArrayList<>(
            List.of(
                launcher.toString(),
                "worker",
                "--coordinator",
                address,
                "--token-file",
                workerToken().toString(),
                "--work-dir",
                dir.resolve(name).toString(),
                "--name",
                name));
    args.addAll(List.of(more));
    Daemon worker = Daemon.start(name, args, Map.of(), dir.resolve(name + ".err"));
    workers.add(worker);
    return worker;
  }

  /** So many workers that run: those that still do, and new ones. Any others are ended. */
  List<Daemon> haveWorkers(int count) throws IOException, InterruptedException {
    List<Daemon> running = new ArrayList<>(workers.stream().filter(Daemon::isAlive).toList());
    while (running.size() > count) {
      running.remove(count).close();
    }
    while (running.size() < count) {
      running.add(startWorker("worker-" + (workers.size() + 1)));
    }
    return running;
  }

  /** A worker that was started here, by its name. */
  Daemon worker(String name) {
    return workers.stream().filter(w -> w.name().equals(name)).findFirst().orElseThrow();
  }

  private Path workerToken() throws IOException, InterruptedException {
    Path file = workerToken;
    if (file == null) {
      file = dir.resolve("worker.token");
      List<String> lines = baton("token", "create", "--role", "worker").orFail().lines().toList();
      Files.writeString(file, lines.get(lines.size() - 1));
      workerToken = file;
    }
    return file;
  }

  /** Calls the client with the admin token and waits for its end. */
  Output baton(String... args) throws IOException, InterruptedException {
    Path out = Files.createTempFile(dir, "client", ".out");
    Path err = Files.createTempFile(dir, "client", ".err");
    try {
      Process process =
          client(args).redirectOutput(out.toFile()).redirectError(err.toFile()).start();
      process.getOutputStream().close();
      if (!process.waitFor(30, TimeUnit.MINUTES)) {
        process.destroyForcibly();
        throw new IOException("no end after 30 minutes: " + String.join(" ", args));
      }
      return new Output(process.exitValue(), Files.readString(out), Files.readString(err));
    } finally {
      Files.delete(out);
      Files.delete(err);
    }
  }

  /** A call of the client, not started yet. */
  ProcessBuilder client(String... args) throws IOException {
    List<String> command = new ArrayList<>(List.of(launcher.toString()));
    command.addAll(List.of(args));
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().put("BATON_COORDINATOR", address);
    builder
        .environment()
        .put("BATON_TOKEN", Files.readString(adminToken(), StandardCharsets.UTF_8).strip());
    return builder;
  }

  /** {@code baton show JOB -o json}. */
  JsonNode show(String job) throws IOException, InterruptedException {
    return JSON.readTree(baton("show", job, "-o", "json").orFail());
  }

  /** Submits a job file's text; its id. */
  String submit(String yaml) throws IOException, InterruptedException {
    Path file = Files.createTempFile(dir, "job", ".yaml");
    Files.writeString(file, yaml);
    return baton("submit", file.toString()).orFail();
  }

  /** Waits for a job's end; the job as {@link #show} has it. */
  JsonNode await(String job, Duration limit) throws IOException, InterruptedException {
    baton("wait", job, "--timeout", limit.toSeconds() + "s");
    return show(job);
  }

  @Override
  public void close() {
    workers.forEach(Daemon::close);
    coordinator.close();
  }
}
