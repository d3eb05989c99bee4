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
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;

/**
 * The notebooks, cell by cell in a Jupyter kernel, against a coordinator with TLS. What they call
 * of Colab's and Kaggle's own packages is imitated in {@code notebook-host}.
 */
@EnabledIfSystemProperty(named = "baton.test.long", matches = "true")
class NotebookIT {
  private static final String PYTHON = "/usr/bin/python3";
  private static final Duration LIMIT = Duration.ofMinutes(5);
  private static final String JOB =
      """
      name: notebook
      model: {builtin: {name: linear, in_features: 2, out_features: 1}}
      data: {train: {synthetic: {regression: {samples: 1000}}}}
      training:
        epochs: 1000000
        batch_size: 100
        optimizer: {adam: {lr: 0.1}}
        loss: mse
        seed: 7
      checkpoint: {interval: 1s}
      """;

  private static Path archives;

  @TempDir Path dir;
  private Path home;
  private LocalCluster cluster;

  /**
   * A cell that was run.
   *
   * @param status ok, error or stopped
   */
  private record Cell(String id, String status, String output) {}

  @BeforeAll
  static void buildArchives() throws Exception {
    assumeTrue(
        exit(PYTHON, "-c", "import ipykernel, jupyter_client, nbformat") == 0,
        "no ipykernel and nbformat for " + PYTHON + "; deploy/install-test-tools brings them");
    archives = ReleaseArchives.build();
  }

  @BeforeEach
  void start() throws Exception {
    home = Files.createDirectory(dir.resolve("home"));
    cluster =
        LocalCluster.start(
            dir.resolve("cluster"), "127.0.0.1", "--tls", "--releases", archives.toString());
  }

  @AfterEach
  void stop() throws Exception {
    Path pid = home.resolve("baton-worker/worker.pid");
    if (Files.exists(pid)) {
      ProcessHandle.of(Long.parseLong(Files.readString(pid).strip()))
          .ifPresent(
              worker -> {
                worker.descendants().forEach(ProcessHandle::destroyForcibly);
                worker.destroyForcibly();
              });
    }
    cluster.close();
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

  private String line() throws Exception {
    return LocalCluster.JSON
        .readTree(cluster.baton("token", "create", "--role", "worker", "-o", "json").orFail())
        .get("join")
        .asText();
  }

  /** Runs a notebook's cells; the watching is stopped when a checkpoint was committed. */
  private List<Cell> run(Path notebook, Map<String, String> secrets) throws Exception {
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
          .as(() -> read(out) + read(err))
          .isTrue();
    } finally {
      process.destroy();
    }
    assertThat(process.exitValue()).as(() -> read(out) + read(err)).isZero();
    List<Cell> cells = new ArrayList<>();
    for (String line : Files.readAllLines(out)) {
      JsonNode cell = LocalCluster.JSON.readTree(line);
      cells.add(
          new Cell(
              cell.get("id").asText(), cell.get("status").asText(), cell.get("output").asText()));
    }
    return cells;
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
    String job = cluster.submit(JOB);
    List<Cell> cells = run(notebook(name), Map.of("BATON_JOIN", line()));
    assertThat(cells).extracting(Cell::id).containsExactly("join", "watch", "leave");
    assertThat(cells)
        .as("%s", cells)
        .extracting(Cell::status)
        .containsExactly("ok", "stopped", "ok");
    assertThat(cells.get(0).output()).contains("baton: ready: worker " + name + " ");
    assertThat(cells.get(1).output())
        .containsPattern("job " + job + ", term \\d+: trains from step ");
    assertThat(cells.get(2).output()).containsPattern("handed over at step|the term is over");

    JsonNode shown = cluster.show(job);
    assertThat(shown.get("state").asText()).as("%s", shown).isEqualTo("QUEUED");
    JsonNode attempt = shown.at("/attempts/" + (shown.get("attempts").size() - 1));
    assertThat(attempt.get("workers").get(0).asText()).isEqualTo(name);
    // Handed over: no step is lost.
    assertThat(shown.at("/checkpoints"))
        .as("%s", shown)
        .anyMatch(
            checkpoint -> checkpoint.get("step").asLong() == attempt.get("last_step").asLong());
    long pid = Long.parseLong(Files.readString(home.resolve("baton-worker/worker.pid")).strip());
    assertThat(ProcessHandle.of(pid).filter(ProcessHandle::isAlive)).isEmpty();
    assertThat(cells.get(2).output().contains("the machine was given back"))
        .isEqualTo(name.equals("colab"));
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
    Files.writeString(hasty, text.replace("--idle-exit 30m", "--idle-exit 20s"));
    List<Cell> cells = run(hasty, Map.of("BATON_JOIN", line()));
    assertThat(cells).as("%s", cells).extracting(Cell::status).containsExactly("ok", "ok", "ok");
    assertThat(cells.get(2).output()).contains("the machine was given back");
  }

  /** Without a secret, and with a line in the form that leads nowhere. */
  @Test
  void aCellThatCannotJoinSaysWhyAndEndsTheRun() throws Exception {
    List<Cell> nothing = run(notebook("colab"), Map.of());
    assertThat(nothing).extracting(Cell::status).containsExactly("error");
    assertThat(nothing.get(0).output()).contains("SecretNotFoundError: ", "BATON_JOIN");

    Path filled = dir.resolve("filled.ipynb");
    String wrong = line().replaceFirst("(baton_[0-9a-f]{8}_).{8}", "$1AAAAAAAA");
    Files.writeString(
        filled,
        Files.readString(notebook("colab"))
            .replace("join = \\\"\\\"", "join = \\\"" + wrong + "\\\""));
    List<Cell> refused = run(filled, Map.of());
    assertThat(refused).extracting(Cell::status).containsExactly("error");
    assertThat(refused.get(0).output())
        .contains("baton: the worker ended: ", "SystemExit: no worker");
  }
}
