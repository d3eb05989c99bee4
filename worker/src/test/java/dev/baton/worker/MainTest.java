package dev.baton.worker;

import static dev.baton.worker.testing.Eventually.await;
import static dev.baton.worker.testing.FakeTrainer.job;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.LeaseRef;
import dev.baton.worker.testing.FakeCoordinator;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The worker as a process of its own. */
@Timeout(120)
class MainTest {
  @TempDir Path dir;
  private FakeCoordinator coordinator;
  private final List<Process> started = new ArrayList<>();

  @BeforeEach
  void start() throws IOException {
    coordinator = new FakeCoordinator(100, 2_000);
    Files.writeString(dir.resolve("token"), FakeCoordinator.TOKEN + "\n");
  }

  @AfterEach
  void stop() throws InterruptedException {
    started.forEach(Process::destroyForcibly);
    for (Process process : started) {
      process.waitFor();
    }
    coordinator.close();
  }

  @Test
  void saysReadyOnceAndHandsOverAtSigterm() throws Exception {
    Process worker = worker();
    ready();
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> !coordinator.copy(coordinator.progress).isEmpty());
    // A broken stream is no second start.
    int hellos = coordinator.copy(coordinator.hellos).size();
    coordinator.breakStream();
    await("back", () -> coordinator.copy(coordinator.hellos).size() > hellos);
    worker.destroy();
    assertThat(worker.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(worker.exitValue()).as(text("err")).isZero();
    assertThat(text("out")).isEqualTo("ready worker=w1\n");
    assertThat(coordinator.stands(lease)).isFalse();
    assertThat(coordinator.copy(coordinator.drained)).contains("SIGTERM");
    assertThat(coordinator.copy(coordinator.commits))
        .singleElement()
        .satisfies(c -> assertThat(c.getRelease()).isTrue());
    assertThat(dir.resolve("work/worker.log")).content().contains("to be handed over");
  }

  @Test
  void anIdleWorkerEndsAndRunsItsCommand() throws Exception {
    Process worker =
        worker("--idle-exit", "10s", "--on-exit", "echo \"ended: $BATON_EXIT_REASON\"");
    ready();
    coordinator.offer(coordinator.assignment("j", job("finish", 20, 5, 0, 5)));
    await("finished", () -> coordinator.copy(coordinator.finished).size() == 1);
    assertThat(worker.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(worker.exitValue()).as(text("err")).isZero();
    assertThat(dir.resolve("work/worker.log")).content().contains("\nended: idle\n");
    assertThat(coordinator.copy(coordinator.drained)).contains("nothing to do for 10 s");
  }

  @Test
  void theCommandIsRunAfterTheHandOverAtSigterm() throws Exception {
    Process worker = worker("--on-exit", "sleep 1; echo \"ended: $BATON_EXIT_REASON\"");
    ready();
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> !coordinator.copy(coordinator.progress).isEmpty());
    worker.destroy();
    assertThat(worker.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(worker.exitValue()).as(text("err")).isZero();
    assertThat(coordinator.stands(lease)).isFalse();
    assertThat(dir.resolve("work/worker.log"))
        .content()
        .containsSubsequence("to be handed over", "--on-exit (signal)", "\nended: signal\n");
  }

  @Test
  void anErrorAtTheStartRunsNoCommand() throws Exception {
    Files.writeString(dir.resolve("token"), "of-somebody-else");
    Process worker = worker("--on-exit", "touch " + dir.resolve("ran"));
    assertThat(worker.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(worker.exitValue()).isEqualTo(1);
    assertThat(dir.resolve("ran")).doesNotExist();
  }

  @Test
  void trainersDieWithTheirDaemon() throws Exception {
    Process worker = worker();
    ready();
    coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> !coordinator.copy(coordinator.progress).isEmpty());
    List<ProcessHandle> trainers = worker.descendants().toList();
    assertThat(trainers).isNotEmpty();
    worker.destroyForcibly().waitFor();
    await("they are gone", () -> trainers.stream().noneMatch(ProcessHandle::isAlive));
    // What is left behind is swept by the next.
    Process unused = worker();
    ready();
    await("swept", () -> list("work/attempts").isEmpty());
  }

  @Test
  void whoWasStoppedFindsItsTermOverAndCommitsNothing() throws Exception {
    Process worker = worker();
    ready();
    LeaseRef lease =
        coordinator.offer(coordinator.assignment("j", job("finish", 99_999, 2, 0, 200)));
    await("a checkpoint", () -> coordinator.committedStep() > 0);
    List<ProcessHandle> frozen = new ArrayList<>(worker.descendants().toList());
    frozen.add(worker.toHandle());
    for (ProcessHandle process : frozen) {
      signal("STOP", process.pid());
    }
    coordinator.end(lease);
    int commits = coordinator.copy(coordinator.commits).size();
    // Longer than the lease: what comes next cannot rest on it.
    TimeUnit.MILLISECONDS.sleep(2 * coordinator.leaseMillis);
    // What was on its way when it was stopped has arrived by now.
    long refused = refusedCommits();
    for (ProcessHandle process : frozen) {
      signal("CONT", process.pid());
    }
    await(
        "it holds nothing any more",
        () -> {
          var heartbeats = coordinator.copy(coordinator.heartbeats);
          return heartbeats.get(heartbeats.size() - 1).getLeasesCount() == 0;
        });
    assertThat(coordinator.copy(coordinator.commits)).hasSize(commits);
    assertThat(refusedCommits()).isEqualTo(refused);
    // And it takes the next.
    coordinator.offer(coordinator.assignment("k", job("finish", 5, 2, 0, 0)));
    await("finished", () -> coordinator.copy(coordinator.finished).size() == 1);
  }

  @Test
  void aSecondWorkerInTheSameDirectoryIsRefused() throws Exception {
    Process first = worker();
    ready();
    Process second = start("second", "--work-dir", dir.resolve("work").toString());
    assertThat(second.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(second.exitValue()).isEqualTo(1);
    assertThat(text("second.err"))
        .contains("in use by another worker (pid " + first.pid() + ")")
        .doesNotContain("Exception");
    assertThat(first.isAlive()).isTrue();
  }

  @Test
  void anUnknownTokenIsOneLineAndExit1() throws Exception {
    Files.writeString(dir.resolve("token"), "of-somebody-else");
    Process worker = worker();
    assertThat(worker.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(worker.exitValue()).isEqualTo(1);
    assertThat(errors())
        .singleElement()
        .asString()
        .contains("this token is unknown", "'baton token create --role worker'");
    assertThat(text("err")).doesNotContain("\tat ");
    assertThat(text("out")).isEmpty();
  }

  @Test
  void trainersAreNotGivenTheToken() throws Exception {
    Files.delete(dir.resolve("token"));
    Process worker =
        launch("", Map.of("BATON_TOKEN", FakeCoordinator.TOKEN), "--work-dir", dir + "/work");
    await("ready", () -> text("out").contains("ready worker=") && coordinator.connected());
    await("a spare trainer", () -> worker.descendants().findAny().isPresent());
    assertThat(environment(worker.toHandle())).contains("BATON_TOKEN=");
    assertThat(worker.descendants().toList())
        .allSatisfy(
            trainer ->
                assertThat(environment(trainer))
                    .contains("PATH=")
                    .doesNotContain(FakeCoordinator.TOKEN));
  }

  private static String environment(ProcessHandle process) {
    try {
      return Files.readString(Path.of("/proc/" + process.pid() + "/environ"));
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void aWorkDirectoryThatCannotBeIsOneLineAndExit1() throws Exception {
    Path file = Files.createFile(dir.resolve("file"));
    Process worker = start("", "--work-dir", file.toString());
    assertThat(worker.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(worker.exitValue()).isEqualTo(1);
    assertThat(text("err")).isEqualTo("error: " + file + ": exists already\n");
  }

  @Test
  void aTokenFileThatCannotBeReadIsExit2() throws Exception {
    Path token = dir.resolve("token");
    Files.write(token, new byte[] {(byte) 0xff, 0, (byte) 0xfe});
    assertThat(usage("--work-dir", dir + "/w"))
        .isEqualTo("error: --token-file: cannot read " + token + ": is not text\n");
    Files.delete(token);
    assertThat(usage("--work-dir", dir + "/w"))
        .isEqualTo("error: --token-file: cannot read " + token + ": no such file or folder\n");
    Files.createDirectory(token);
    assertThat(usage("--work-dir", dir + "/w"))
        .isEqualTo("error: --token-file: cannot read " + token + ": is a folder, not a file\n");
  }

  @Test
  void whoseTokenEndsHandsOverBeforeAndSaysSo() throws Exception {
    coordinator.holdInfo();
    Process worker = worker();
    ready();
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> !coordinator.copy(coordinator.progress).isEmpty());
    coordinator.tokenEndsIn(10_000);
    assertThat(worker.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(worker.exitValue()).isEqualTo(1);
    assertThat(coordinator.stands(lease)).isFalse();
    assertThat(coordinator.committedStep()).isPositive();
    assertThat(errors())
        .singleElement()
        .asString()
        .matches(
            "error: the token expires at \\S+; make a new one with 'baton token create --role"
                + " worker'");
  }

  @Test
  void whoseTokenIsOverEnds() throws Exception {
    Process worker = worker();
    ready();
    coordinator.expireToken();
    assertThat(worker.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(worker.exitValue()).isEqualTo(1);
    assertThat(errors())
        .containsExactly(
            "error: UNAUTHENTICATED: token t expired at 2026-03-01T20:00:00Z; ask for a new one"
                + " (baton token create)");
  }

  private List<String> errors() {
    return text("err").lines().filter(line -> line.startsWith("error:")).toList();
  }

  @Test
  void wrongUsageIsExit2() throws Exception {
    assertThat(usage("--work-dir", dir + "/w", "--slots", "0")).contains("--slots");
    assertThat(usage("--work-dir", dir + "/w", "--cache-quota", "much")).contains("'much'");
    assertThat(usage("--work-dir", dir + "/w", "--name", "a b")).contains("--name");
    assertThat(usage("--work-dir", dir + "/w", "--advertise", "gpu7:7000"))
        .contains("--advertise: 'gpu7:7000'", "without a port");
    assertThat(usage("--work-dir", dir + "/w", "--advertise", "0.0.0.0")).contains("--advertise");
    assertThat(usage("--work-dir", dir + "/w", "--ports", "29500"))
        .contains("--ports: '29500'; expected FIRST-LAST");
    assertThat(usage()).contains("--work-dir");
    assertThat(usage("--work-dir", dir + "/w", "--ends-in", "soon")).contains("--ends-in: 'soon'");
    assertThat(usage("--work-dir", dir + "/w", "--ends-in", "1h", "--ends-at", "07:30"))
        .contains("--ends-in and --ends-at");
    assertThat(usage("--work-dir", dir + "/w", "--hours", "22-7")).contains("--hours: '22-7'");
    assertThat(usage("--work-dir", dir + "/w", "--bandwidth", "20MB"))
        .contains("--bandwidth: '20MB'");
    assertThat(usage("--work-dir", dir + "/w", "--spot", "ibm")).contains("--spot").contains("AWS");
  }

  @Test
  void itWaitsForACoordinatorThatIsNotThereYet() throws Exception {
    coordinator.goAway();
    Process worker = worker();
    await("it says so", () -> text("err").contains("no session with the coordinator"));
    assertThat(worker.isAlive()).isTrue();
    coordinator.comeBack();
    ready();
    assertThat(text("err").lines().filter(l -> l.contains("no session with"))).hasSize(1);
  }

  private long refusedCommits() {
    return coordinator.copy(coordinator.refusals).stream()
        .filter(r -> r.startsWith("commit"))
        .count();
  }

  private String usage(String... args) throws Exception {
    Process worker = start("usage", args);
    assertThat(worker.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(worker.exitValue()).isEqualTo(2);
    return text("usage.err");
  }

  private Process worker(String... more) throws IOException {
    List<String> args = new ArrayList<>(List.of("--name", "w1", "--spot", "none"));
    args.addAll(List.of("--work-dir", dir.resolve("work").toString()));
    args.addAll(List.of(more));
    return start("", args.toArray(String[]::new));
  }

  private Process start(String prefix, String... args) throws IOException {
    List<String> all = new ArrayList<>(List.of("--token-file", dir.resolve("token").toString()));
    all.addAll(Arrays.asList(args));
    return launch(prefix, Map.of(), all.toArray(String[]::new));
  }

  private Process launch(String prefix, Map<String, String> environment, String... args)
      throws IOException {
    List<String> line = new ArrayList<>();
    line.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    line.addAll(List.of("-Xmx64m", "-XX:+UseSerialGC", "-cp"));
    line.add(System.getProperty("java.class.path"));
    line.add(WorkerWithFakeTrainers.class.getName());
    line.addAll(List.of("worker", "--coordinator", coordinator.address()));
    line.addAll(Arrays.asList(args));
    String dot = prefix.isEmpty() ? "" : prefix + ".";
    ProcessBuilder builder =
        new ProcessBuilder(line)
            .redirectOutput(dir.resolve(dot + "out").toFile())
            .redirectError(dir.resolve(dot + "err").toFile());
    builder.environment().putAll(environment);
    Process process = builder.start();
    started.add(process);
    return process;
  }

  private void ready() {
    await("ready", () -> text("out").contains("ready worker=w1") && coordinator.connected());
  }

  private String text(String file) {
    try {
      return Files.readString(dir.resolve(file));
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private List<String> list(String folder) {
    String[] names = dir.resolve(folder).toFile().list();
    return names == null ? List.of() : List.of(names);
  }

  private static void signal(String name, long pid) throws Exception {
    assertThat(new ProcessBuilder("kill", "-" + name, Long.toString(pid)).start().waitFor())
        .isZero();
  }
}
