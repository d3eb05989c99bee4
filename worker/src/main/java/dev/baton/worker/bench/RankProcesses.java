package dev.baton.worker.bench;

import dev.baton.v1.Gpu;
import dev.baton.worker.data.Replica;
import dev.baton.worker.natives.NativeLibraries;
import dev.baton.worker.trainer.Membership;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * The processes of a measurement: this command started again, in the environment that the daemon
 * gives to trainers, once or once for each of several replicas.
 *
 * <p>Rank 0 writes the port where it awaits the others to its output, then the result; the others
 * read the port from their input, whose end is the end of whoever started them.
 */
final class RankProcesses {
  private static final String MAIN = "dev.baton.worker.Main";
  private static final String LISTENING = "listening ";
  private static final String LOOPBACK = "127.0.0.1";
  private static final Duration TIMEOUT = Duration.ofMinutes(2);

  /** The option by which a replica's process knows its rank. */
  static final String RANK_OPTION = "--rank";

  private final NativeLibraries natives;
  private final int threads;
  private final List<Gpu> gpus;
  private final List<String> arguments;

  /**
   * @param threads of each process
   * @param gpus that the replicas share out, each seeing one; empty: they compute on CPUs
   * @param arguments of the command
   */
  RankProcesses(NativeLibraries natives, int threads, List<Gpu> gpus, List<String> arguments) {
    this.natives = natives;
    this.threads = threads;
    this.gpus = List.copyOf(gpus);
    this.arguments = List.copyOf(arguments);
  }

  /** NCCL where each replica has a GPU of its own, which is what NCCL wants; else Gloo. */
  static Membership.Backend backend(int replicas, List<Gpu> gpus) {
    return !gpus.isEmpty() && replicas <= gpus.size()
        ? Membership.Backend.NCCL
        : Membership.Backend.GLOO;
  }

  /** The command once, with this process's input and output; its exit code. */
  int runOne() throws IOException, InterruptedException {
    Process child = builder(List.of()).inheritIO().start();
    return await(List.of(child));
  }

  /**
   * The command as so many replicas; rank 0's result, a line of JSON, goes to {@code out}.
   *
   * @return 0, or the first exit code that is not
   */
  int run(int replicas, PrintWriter out) throws IOException, InterruptedException {
    List<Process> children = new ArrayList<>();
    try {
      for (int rank = 0; rank < replicas; rank++) {
        ProcessBuilder builder = builder(List.of(RANK_OPTION, Integer.toString(rank)));
        if (!gpus.isEmpty()) {
          builder
              .environment()
              .put(
                  "CUDA_VISIBLE_DEVICES",
                  Integer.toString(gpus.get(rank % gpus.size()).getIndex()));
        }
        builder.redirectError(ProcessBuilder.Redirect.INHERIT);
        if (rank > 0) {
          builder.redirectOutput(ProcessBuilder.Redirect.DISCARD);
        }
        children.add(builder.start());
      }
      relay(children, out);
      return await(children);
    } finally {
      children.forEach(Process::destroy);
    }
  }

  private ProcessBuilder builder(List<String> more) {
    List<String> line = new ArrayList<>(arguments);
    line.addAll(more);
    ProcessBuilder builder = LibtorchProcess.of(natives, threads, MAIN, line);
    // What goes wrong is an exception; the rest would stand between the command and its one line.
    builder.environment().put("TORCH_CPP_LOG_LEVEL", "ERROR");
    return builder;
  }

  /** What libtorch itself prints is left out. */
  private static void relay(List<Process> children, PrintWriter out) throws IOException {
    try (BufferedReader lines =
        new BufferedReader(
            new InputStreamReader(children.get(0).getInputStream(), StandardCharsets.UTF_8))) {
      String line;
      while ((line = lines.readLine()) != null) {
        if (line.startsWith(LISTENING)) {
          byte[] port =
              (line.substring(LISTENING.length()) + "\n").getBytes(StandardCharsets.UTF_8);
          for (Process child : children.subList(1, children.size())) {
            child.getOutputStream().write(port);
            child.getOutputStream().flush();
          }
        } else if (line.startsWith("{")) {
          out.println(line);
          out.flush();
        }
      }
    }
  }

  private static int await(List<Process> children) throws InterruptedException {
    Thread kill = new Thread(() -> children.forEach(Process::destroy), "end-bench");
    Runtime.getRuntime().addShutdownHook(kill);
    int exit = 0;
    for (Process child : children) {
      int code = child.waitFor();
      if (exit == 0) {
        exit = code;
      }
    }
    Runtime.getRuntime().removeShutdownHook(kill);
    return exit;
  }

  /** In a replica's process: its place in the group. */
  static Membership membership(int rank, int replicas, Membership.Backend backend)
      throws IOException {
    int port = 0;
    BufferedReader input =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    if (rank > 0) {
      String line = input.readLine();
      if (line == null) {
        throw new IOException("rank 0 has ended before it listened");
      }
      port = Integer.parseInt(line);
    }
    Thread watch = new Thread(() -> endWith(input), "end-with-parent");
    watch.setDaemon(true);
    watch.start();
    return new Membership(LOOPBACK, port, new Replica(rank, replicas), LOOPBACK, backend, TIMEOUT);
  }

  private static void endWith(BufferedReader input) {
    try {
      while (input.readLine() != null) {
        // Nothing more is said.
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } finally {
      Runtime.getRuntime().halt(1);
    }
  }

  /** Tells the others where rank 0 listens. */
  static void listening(PrintWriter out, int port) {
    out.println(LISTENING + port);
    out.flush();
  }
}
