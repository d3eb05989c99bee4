package dev.baton.worker.trainer.torch;

import dev.baton.worker.process.TrainerEnvironment;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A {@link RankMain} process, and its orders and answers. */
final class Rank implements AutoCloseable {
  private final Process process;
  private final PrintStream orders;
  private final BufferedReader answers;

  private Rank(Process process) {
    this.process = process;
    this.orders = new PrintStream(process.getOutputStream(), true, StandardCharsets.UTF_8);
    this.answers =
        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
  }

  /** Starts so many; they load libtorch side by side. */
  static List<Rank> start(int count) throws IOException {
    List<Rank> ranks = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      List<String> line = new ArrayList<>();
      line.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
      line.addAll(TrainerEnvironment.javaOptions());
      line.addAll(
          List.of(
              "-Xmx128m",
              "-XX:MaxDirectMemorySize=1g",
              "-XX:TieredStopAtLevel=1",
              "-cp",
              System.getProperty("java.class.path"),
              RankMain.class.getName()));
      ProcessBuilder builder =
          new ProcessBuilder(line).redirectError(ProcessBuilder.Redirect.INHERIT);
      builder.environment().putAll(TrainerEnvironment.variables(1));
      ranks.add(new Rank(builder.start()));
    }
    for (Rank rank : ranks) {
      rank.answer();
    }
    return ranks;
  }

  /** Gives an order; its answer is to be read. */
  void order(String order) {
    orders.println(order);
  }

  /** The next line that is the rank's own; waits for it. */
  String line() throws IOException {
    String line;
    do {
      line = answers.readLine();
      if (line == null) {
        throw new IOException("the rank's process has ended");
      }
    } while (line.startsWith("[Gloo]"));
    return line;
  }

  /** The answer to an order that went well. */
  String answer() throws IOException {
    String line = line();
    if (!line.startsWith("= ")) {
      throw new IOException("a rank answers: " + line);
    }
    return line.substring(2);
  }

  String ask(String order) throws IOException {
    order(order);
    return answer();
  }

  /**
   * Makes a group of the ranks, in their order.
   *
   * @param order that takes a host, a port, a rank, a size and a time-out
   * @param more what else it takes, for each rank
   */
  static void group(List<Rank> ranks, String order, int timeoutMillis, List<String> more)
      throws IOException {
    int unused = group(ranks, order, "0", timeoutMillis, more);
  }

  /**
   * The same.
   *
   * @param ports of which rank 0 takes one
   * @return that one
   */
  static int group(
      List<Rank> ranks, String order, String ports, int timeoutMillis, List<String> more)
      throws IOException {
    String port = ports;
    for (int i = 0; i < ranks.size(); i++) {
      Rank rank = ranks.get(i);
      rank.order(
          String.join(
                  " ",
                  order,
                  "127.0.0.1",
                  port,
                  Integer.toString(i),
                  Integer.toString(ranks.size()),
                  Integer.toString(timeoutMillis),
                  more.isEmpty() ? "" : more.get(i))
              .strip());
      if (i == 0) {
        String line = rank.line();
        if (!line.startsWith("listening ")) {
          throw new IOException("rank 0 answers: " + line);
        }
        port = line.substring("listening ".length());
      }
    }
    return Integer.parseInt(port);
  }

  static List<String> answers(List<Rank> ranks) throws IOException {
    List<String> answers = new ArrayList<>();
    for (Rank rank : ranks) {
      answers.add(rank.answer());
    }
    return answers;
  }

  static List<String> ask(List<Rank> ranks, String order) throws IOException {
    ranks.forEach(rank -> rank.order(order));
    return answers(ranks);
  }

  /** SIGKILL. */
  void kill() throws InterruptedException {
    process.destroyForcibly().waitFor();
  }

  /** SIGSTOP. */
  void freeze() throws IOException, InterruptedException {
    new ProcessBuilder("kill", "-STOP", Long.toString(process.pid())).start().waitFor();
  }

  @Override
  public void close() {
    process.destroyForcibly();
  }

  static void closeAll(List<Rank> ranks) {
    ranks.forEach(Rank::close);
  }
}
