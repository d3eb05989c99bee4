package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The notebooks, cell by cell in a Jupyter kernel, against a coordinator with TLS. What they call
 * of Colab's and Kaggle's own packages is imitated in {@code notebook-host}.
 */
class NotebookIT {
  private static final String PYTHON = "/usr/bin/python3";
  private static final Duration LIMIT = Duration.ofMinutes(6);

  @TempDir static Path shared;
  private static LocalCluster cluster;

  @TempDir Path dir;

  /**
   * A cell that was run.
   *
   * @param status ok, error, stopped, or why it did not end
   */
  private record Cell(String id, String status, String output) {}

  @BeforeAll
  static void start() throws Exception {
    assumeTrue(
        exit(PYTHON, "-c", "import ipykernel, jupyter_client, nbformat") == 0,
        "no ipykernel and nbformat for " + PYTHON + "; deploy/install-test-tools brings them");
    cluster =
        LocalCluster.start(
            shared.resolve("cluster"),
            "127.0.0.1",
            "--tls",
            "--releases",
            ReleaseArchives.build().toString());
  }

  @AfterAll
  static void stop() throws Exception {
    for (String name : List.of("colab", "kaggle")) {
      JoinLine.kill(home(name));
    }
    if (cluster != null) {
      cluster.close();
    }
  }

  /** Each cloud's machine, on which a worker may be installed already. */
  private static Path home(String name) throws IOException {
    return Files.createDirectories(shared.resolve(name));
  }

  private static int exit(String... command) throws IOException, InterruptedException {
    return new ProcessBuilder(command)
        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
        .redirectError(ProcessBuilder.Redirect.DISCARD)
        .start()
        .waitFor();
  }

  private static Path resource(String name) throws URISyntaxException {
    return Path.of(NotebookIT.class.getResource(name).toURI());
  }

  /** Runs a notebook's cells; the watching is stopped when a checkpoint was committed. */
  private List<Cell> run(String machine, Path notebook, Map<String, String> secrets)
      throws Exception {
    Path home = home(machine);
    Path out = dir.resolve("cells");
    Path err = dir.resolve("driver.err");
    ProcessBuilder builder =
        new ProcessBuilder(
                PYTHON,
                resource("run_notebook.py").toString(),
                notebook.toString(),
                "watch=checkpoint at step \\d+ committed")
            .directory(home.toFile())
            .redirectOutput(out.toFile())
            .redirectError(err.toFile());
    Map<String, String> environment = builder.environment();
    environment.keySet().removeIf(name -> name.startsWith("BATON_"));
    environment.put("HOME", home.toString());
    environment.put("PYTHONPATH", resource("notebook-host").toString());
    secrets.forEach((name, value) -> environment.put("SECRET_" + name, value));
    Process process = builder.start();
    try {
      assertThat(process.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS))
          .as(() -> "its end; until now:\n" + read(out) + read(err) + logs(home))
          .isTrue();
    } finally {
      process.destroy();
    }
    assertThat(process.exitValue()).as(() -> read(out) + read(err) + logs(home)).isZero();
    List<Cell> cells = new ArrayList<>();
    for (String line : Files.readAllLines(out)) {
      JsonNode cell = LocalCluster.JSON.readTree(line);
      cells.add(
          new Cell(
              cell.get("id").asText(), cell.get("status").asText(), cell.get("output").asText()));
    }
    return cells;
  }

  private static void expect(List<Cell> cells, Path home, String... statuses) {
    assertThat(cells)
        .as(() -> cells + read(shared.resolve("cluster/coordinator.err")) + logs(home))
        .extracting(Cell::status)
        .containsExactly(statuses);
  }

  private static String logs(Path home) {
    return "\nworker.out:\n" + read(JoinLine.work(home).resolve("worker.out"));
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      return e.toString();
    }
  }

  private static Path notebook(String name) {
    return LocalCluster.root().resolve("deploy/notebooks").resolve(name + ".ipynb");
  }

  /** Joined, watched until the job's first checkpoint, left: the job waits for the next worker. */
  private void joinsWatchesAndLeaves(String name) throws Exception {
    String job = cluster.submit(JoinLine.JOB);
    try {
      List<Cell> cells = run(name, notebook(name), Map.of("BATON_JOIN", JoinLine.of(cluster)));
      expect(cells, home(name), "ok", "stopped", "ok");
      assertThat(cells).extracting(Cell::id).containsExactly("join", "watch", "leave");
      assertThat(cells.get(0).output()).contains("baton: ready: worker " + name + " ");
      assertThat(cells.get(1).output())
          .containsPattern("job " + job + ", term \\d+: trains from step ");
      assertThat(cells.get(2).output()).containsPattern("handed over at step|the term is over");
      assertThat(cells.get(2).output().contains("the machine was given back"))
          .isEqualTo(name.equals("colab"));

      JsonNode shown = cluster.show(job);
      assertThat(shown.get("state").asText()).as("%s", shown).isEqualTo("QUEUED");
      JsonNode attempt = shown.at("/attempts/" + (shown.get("attempts").size() - 1));
      assertThat(attempt.get("workers").get(0).asText()).isEqualTo(name);
      // Handed over: no step is lost.
      assertThat(shown.at("/checkpoints"))
          .as("%s", shown)
          .anyMatch(
              checkpoint -> checkpoint.get("step").asLong() == attempt.get("last_step").asLong());
      assertThat(ProcessHandle.of(JoinLine.pid(home(name))).filter(ProcessHandle::isAlive))
          .isEmpty();
    } finally {
      cluster.baton("cancel", job);
    }
  }

  @Test
  void colab() throws Exception {
    joinsWatchesAndLeaves("colab");
  }

  @Test
  void kaggle() throws Exception {
    joinsWatchesAndLeaves("kaggle");
  }

  /** All cells at once, and nobody looks. */
  @Test
  void colabGivesTheMachineBackWhenThereIsNothingToDo() throws Exception {
    Path hasty = dir.resolve("hasty.ipynb");
    String text = Files.readString(notebook("colab"));
    assertThat(text).contains("--ends-in 11h30m --idle-exit 30m");
    Files.writeString(hasty, text.replace("--idle-exit 30m", "--idle-exit 10s"));
    List<Cell> cells = run("colab", hasty, Map.of("BATON_JOIN", JoinLine.of(cluster)));
    expect(cells, home("colab"), "ok", "ok", "ok");
    assertThat(cells.get(2).output()).contains("the machine was given back");
  }

  /** Without a secret, and with a line in the form that leads nowhere. */
  @Test
  void aCellThatCannotJoinSaysWhyAndEndsTheRun() throws Exception {
    List<Cell> nothing = run("colab", notebook("colab"), Map.of());
    expect(nothing, home("colab"), "error");
    assertThat(nothing.get(0).output()).contains("SecretNotFoundError: ", "BATON_JOIN");

    Path filled = dir.resolve("filled.ipynb");
    String wrong = JoinLine.unknown(JoinLine.of(cluster));
    Files.writeString(
        filled,
        Files.readString(notebook("colab"))
            .replace("join = \\\"\\\"", "join = \\\"" + wrong + "\\\""));
    List<Cell> refused = run("colab", filled, Map.of());
    expect(refused, home("colab"), "error");
    assertThat(refused.get(0).output())
        .contains("baton: the worker ended: ", "SystemExit: no worker");
  }
}
