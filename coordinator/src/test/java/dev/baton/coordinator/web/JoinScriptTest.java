package dev.baton.coordinator.web;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import dev.baton.coordinator.config.DataDir;
import dev.baton.coordinator.tls.ServerIdentity;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.time.Instant;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The pasted line, with a worker that only says that it is ready. */
final class JoinScriptTest {
  private static final String SECRET = "baton_0123abcd_aB3_-aB3_-aB3_-aB3_-aB3_-aB3_-aB3_-aB3_-xyz";
  private static final String PLAIN = SECRET + ".plain.127.0.0.1:7070";
  private static final String WORKER =
      """
      #!/bin/sh
      printf '%s\\n' "$@" >args
      env >environment
      touch "$TMPDIR/scratch" "$XDG_CACHE_HOME/scratch"
      echo "ready worker=fake"
      exec tail -f /dev/null --
      """;

  @TempDir Path temp;
  private Path home;
  private Path releases;
  private Path bin;
  private final List<Long> workers = new ArrayList<>();
  private WebServer server;
  private long releasesMade;

  @BeforeEach
  void start() throws Exception {
    assumeThat(Files.isExecutable(Path.of("/usr/bin/curl"))).as("curl").isTrue();
    home = Files.createDirectory(temp.resolve("home"));
    bin = Files.createDirectory(temp.resolve("bin"));
    releases = Files.createDirectory(temp.resolve("releases"));
    // No GPU, whatever this machine has.
    gpus("exit 9");
    server = serve(Optional.empty());
  }

  @AfterEach
  void stop() {
    server.close();
    for (long pid : workers) {
      ProcessHandle.of(pid).ifPresent(ProcessHandle::destroyForcibly);
    }
  }

  private WebServer serve(Optional<ServerIdentity> tls) throws IOException {
    var web =
        new WebServer(
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
            () -> "",
            Optional.of(releases),
            tls.map(ServerIdentity::serverContext));
    web.start();
    return web;
  }

  private void gpus(String nvidiaSmi) throws IOException {
    script(bin.resolve("nvidia-smi"), "#!/bin/sh\n" + nvidiaSmi + "\n");
  }

  private static void script(Path file, String text) throws IOException {
    Files.writeString(file, text);
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  /** Puts an archive of {@code padding} random bytes and this worker into the folder. */
  private String release(String version, String variant, String worker, int padding)
      throws Exception {
    String top = "baton-worker-" + version + "-linux-x86_64-" + variant;
    Path folder = Files.createDirectories(temp.resolve("build").resolve(top));
    Files.createDirectories(folder.resolve("bin"));
    script(folder.resolve("bin/baton"), worker);
    byte[] noise = new byte[padding];
    new Random(1).nextBytes(noise);
    Files.write(folder.resolve("noise"), noise);
    Path archive = releases.resolve(top + ".tar.gz");
    assertThat(
            new ProcessBuilder("tar", "-czf", archive.toString(), "-C", temp + "/build", top)
                .inheritIO()
                .start()
                .waitFor())
        .isZero();
    Files.setLastModifiedTime(
        archive, FileTime.from(Instant.ofEpochSecond(1_000_000 + releasesMade++)));
    String digest =
        HexFormat.of()
            .formatHex(MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(archive)));
    Path sums = releases.resolve("SHA256SUMS");
    String before = Files.exists(sums) ? Files.readString(sums) : "";
    Files.writeString(sums, before + digest + "  " + archive.getFileName() + "\n");
    return digest;
  }

  private record Result(int exit, String output) {}

  private Result join(String... words) throws Exception {
    return paste("sh", "http://127.0.0.1:" + server.port(), "", words);
  }

  /** Pastes the line. */
  private Result paste(String shell, String base, String curlOptions, String... words)
      throws Exception {
    List<String> quoted = Stream.of(words).map(word -> "'" + word + "'").toList();
    String line =
        "curl -fsSL "
            + curlOptions
            + base
            + "/join | "
            + shell
            + " -s -- "
            + String.join(" ", quoted);
    Path output = Files.createTempFile(temp, "join", ".out");
    ProcessBuilder builder =
        new ProcessBuilder("sh", "-c", line)
            .redirectErrorStream(true)
            .redirectInput(Path.of("/dev/null").toFile())
            .redirectOutput(output.toFile());
    Map<String, String> environment = new HashMap<>();
    environment.put("PATH", bin + ":/usr/local/bin:/usr/bin:/bin");
    environment.put("HOME", home.toString());
    builder.environment().clear();
    builder.environment().putAll(environment);
    Process process = builder.start();
    assertThat(process.waitFor(2, TimeUnit.MINUTES)).as(line).isTrue();
    Path pid = work().resolve("worker.pid");
    if (Files.exists(pid)) {
      workers.add(Long.parseLong(Files.readString(pid).strip()));
    }
    return new Result(process.exitValue(), Files.readString(output));
  }

  private Path work() {
    return home.resolve("baton-worker");
  }

  /** A container may have nobody who waits for dead orphans. */
  private boolean lives(int worker) throws IOException {
    Path status = Path.of("/proc/" + workers.get(worker) + "/status");
    return Files.exists(status) && !Files.readString(status).contains("State:\tZ");
  }

  private static List<String> filesIn(Path folder) throws IOException {
    try (Stream<Path> files = Files.walk(folder)) {
      return files.map(f -> folder.relativize(f).toString()).toList();
    }
  }

  @Test
  void startsAWorkerAndSaysHowToStopIt() throws Exception {
    String digest = release("1", "cpu", WORKER, 1000);
    Result joined = join(PLAIN, "--slots", "2", "--name", "a name");
    assertThat(joined.exit()).as(joined.output()).isZero();
    assertThat(joined.output())
        .contains("baton-worker-1-linux-x86_64-cpu.tar.gz", "nvidia-smi finds no GPU here")
        .contains("ready: worker fake (pid " + workers.get(0) + ")")
        .contains("kill " + workers.get(0), "tail -f " + work(), "rm -rf " + work())
        .doesNotContain(SECRET);
    assertThat(lives(0)).isTrue();
    assertThat(Files.readAllLines(work().resolve("args")))
        .containsExactly(
            "worker",
            "--token-file",
            work() + "/token",
            "--work-dir",
            work().toString(),
            "--slots",
            "2",
            "--name",
            "a name");
    assertThat(Files.readString(work().resolve("token"))).isEqualTo(PLAIN + "\n");
    assertThat(
            PosixFilePermissions.toString(Files.getPosixFilePermissions(work().resolve("token"))))
        .isEqualTo("rw-------");
    assertThat(Files.readString(work().resolve("environment"))).doesNotContain(SECRET);
    assertThat(filesIn(home)).allMatch(file -> file.isEmpty() || file.startsWith("baton-worker"));
    assertThat(filesIn(work()))
        .contains(
            "cache/scratch", "cache/tmp/scratch", "release/" + digest.substring(0, 16) + "/noise")
        .doesNotContain("download", "joining");
  }

  @Test
  void pastedAgainItKeepsTheWorkerUntilSomethingIsNew() throws Exception {
    release("1", "cpu", WORKER, 1000);
    assertThat(join(PLAIN).exit()).isZero();
    Result again = join(PLAIN);
    assertThat(again.exit()).isZero();
    assertThat(again.output()).contains("runs already (pid " + workers.get(0) + ")");
    assertThat(lives(0)).isTrue();

    String digest = release("2", "cpu", WORKER, 2000);
    Result newer = join(PLAIN);
    assertThat(newer.exit()).as(newer.output()).isZero();
    assertThat(newer.output()).contains("baton-worker-2-", "hands its jobs over", "ready: worker");
    assertThat(lives(0)).isFalse();
    assertThat(lives(2)).isTrue();
    try (Stream<Path> kept = Files.list(work().resolve("release"))) {
      assertThat(kept.map(p -> p.getFileName().toString()))
          .containsExactly(digest.substring(0, 16));
    }

    Result otherOptions = join(PLAIN, "--slots", "2");
    assertThat(otherOptions.output()).contains("hands its jobs over", "ready: worker");
    assertThat(lives(2)).isFalse();
  }

  @ParameterizedTest
  @ValueSource(strings = {"dash", "bash --posix", "busybox ash"})
  void runsInEachShell(String shell) throws Exception {
    assumeThat(
            new ProcessBuilder("sh", "-c", "command -v " + shell.split(" ", -1)[0])
                .start()
                .waitFor())
        .as(shell)
        .isZero();
    release("1", "cpu", WORKER, 1000);
    Path work = temp.resolve("a folder");
    Result joined =
        paste(shell, "http://127.0.0.1:" + server.port(), "", PLAIN, "--work-dir", work.toString());
    workers.add(Long.parseLong(Files.readString(work.resolve("worker.pid")).strip()));
    assertThat(joined.exit()).as(joined.output()).isZero();
    assertThat(filesIn(home)).containsExactly("");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "580.65.06, 7.5, Tesla T4              | cu13 cu12 cpu | cu13 | Tesla T4, driver 580",
        "580.65.06, 7.5, Tesla T4              | cu12 cpu      | cu12 | no cu13 archive is served",
        "550.54.15, 7.5, Tesla T4              | cu13 cu12 cpu | cu12 | compute capability 7.5",
        "580.65.06, 6.0, Tesla P100-PCIE-16GB  | cu13 cu12 cpu | cu12 | compute capability 6.0",
        "580.1, 9.0, H\\n580.1, 7.0, V         | cu13 cu12 cpu | cu12 | compute capability 7.0",
        "470.82.01, 7.5, Tesla T4              | cu13 cu12 cpu |      | driver is too old",
        "580.65.06, 3.7, Tesla K80             | cu13 cu12 cpu |      | GPU is too old",
        "550.54.15, 7.5, Tesla T4              | cu13 cpu      |      | serves no archive for it",
        "No devices were found                 | cu13 cu12 cpu | cpu  | finds no GPU",
      })
  void takesTheArchiveThatTheGpuCanUse(String smi, String served, String taken, String why)
      throws Exception {
    for (String variant : served.split(" ", -1)) {
      release("1", variant, WORKER, 1000);
    }
    gpus("printf '" + smi + "\\n'");
    Result joined = join(PLAIN);
    assertThat(joined.output()).contains(why);
    if (taken != null) {
      assertThat(joined.exit()).as(joined.output()).isZero();
      assertThat(joined.output()).contains("baton-worker-1-linux-x86_64-" + taken + ".tar.gz");
      return;
    }
    assertThat(joined.exit()).isEqualTo(1);
    assertThat(joined.output().lines()).as(joined.output()).hasSize(1);
    assertThat(joined.output()).contains("--allow-cpu");
    assertThat(work()).doesNotExist();
    Result allowed = join(PLAIN, "--allow-cpu");
    assertThat(allowed.exit()).as(allowed.output()).isZero();
    assertThat(allowed.output()).contains("baton-worker-1-linux-x86_64-cpu.tar.gz", why);
    assertThat(Files.readAllLines(work().resolve("args"))).contains("--allow-cpu");
  }

  @Test
  void anOldDriverThatKnowsNoComputeCapabilityIsTooOld() throws Exception {
    release("1", "cu12", WORKER, 1000);
    gpus("case $1 in *compute_cap*) exit 2 ;; *) echo '418.67, Tesla K80' ;; esac");
    Result joined = join(PLAIN);
    assertThat(joined.exit()).isEqualTo(1);
    assertThat(joined.output()).contains("Tesla K80, driver 418", "driver is too old");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "baton",
        SECRET,
        SECRET + ".plain",
        SECRET + ".plain.host",
        SECRET + ".short.127.0.0.1:1",
        SECRET + ".plain.127.0.0.1:1;reboot",
        SECRET + ".plain.$(reboot):1",
        "--slots",
      })
  void aTokenThatIsNoneEndsInOneLine(String token) throws Exception {
    release("1", "cpu", WORKER, 1000);
    Result refused = join(token);
    assertThat(refused.exit()).as(refused.output()).isIn(1, 2);
    assertThat(refused.output().lines()).as(refused.output()).hasSize(1);
    assertThat(refused.output()).doesNotContain(SECRET);
    assertThat(filesIn(home)).containsExactly("");
  }

  @Test
  void aCoordinatorWithoutReleasesSaysSo() throws Exception {
    Result refused = join(PLAIN);
    assertThat(refused.exit()).isEqualTo(1);
    assertThat(refused.output()).contains("--releases DIR");
    assertThat(filesIn(home)).containsExactly("");
  }

  @Test
  void aDamagedArchiveIsFetchedOnceMoreAndThenGivenUp() throws Exception {
    release("1", "cpu", WORKER, 1000);
    Path archive = releases.resolve("baton-worker-1-linux-x86_64-cpu.tar.gz");
    byte[] bytes = Files.readAllBytes(archive);
    bytes[bytes.length / 2] ^= 1;
    Files.write(archive, bytes);
    Result refused = join(PLAIN);
    assertThat(refused.exit()).isEqualTo(1);
    assertThat(refused.output().lines().filter(line -> line.contains("damaged"))).hasSize(1);
    assertThat(refused.output()).contains("nothing was installed");
    assertThat(filesIn(home)).containsExactly("");
  }

  @Test
  void goesOnWithWhatAnEarlierDownloadLeft() throws Exception {
    String digest = release("1", "cpu", WORKER, 3_000_000);
    byte[] whole = Files.readAllBytes(releases.resolve("baton-worker-1-linux-x86_64-cpu.tar.gz"));
    Path download = Files.createDirectories(work().resolve("download"));
    int have = 2_000_000;
    Files.write(download.resolve(digest + ".part"), Arrays.copyOf(whole, have));
    try (var proxy = new CuttingProxy(server.port(), 400_000)) {
      Result joined = paste("sh", "http://127.0.0.1:" + proxy.port(), "", PLAIN);
      assertThat(joined.exit()).as(joined.output()).isZero();
      assertThat(joined.output()).contains("the download stopped at", "ready: worker");
      assertThat(proxy.cuts()).isGreaterThanOrEqualTo(2);
      // What was there is not fetched again; each response has a head, and the script is 14 kB.
      assertThat(proxy.bytes())
          .isBetween((long) whole.length - have, whole.length - have + 60_000L);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "echo 'error: the token is unknown', the worker ended: the token is unknown",
    "echo 'Segmentation fault',          Segmentation fault",
  })
  void aWorkerThatEndsEndsTheScriptWithItsWords(String last, String said) throws Exception {
    release("1", "cpu", "#!/bin/sh\necho begins\n" + last + " >&2\nexit 1\n", 1000);
    Result refused = join(PLAIN);
    assertThat(refused.exit()).isEqualTo(1);
    assertThat(refused.output()).contains(said);
    assertThat(filesIn(work())).doesNotContain("token", "worker.pid", "joining");
  }

  @Test
  void overTlsTheKeyIsTheOneThatTheTokenNames() throws Exception {
    release("1", "cpu", WORKER, 1000);
    try (DataDir data = DataDir.open(temp.resolve("data"))) {
      ServerIdentity identity = ServerIdentity.own(data, List.of(), InstantSource.system());
      try (WebServer tls = serve(Optional.of(identity))) {
        String base = "https://127.0.0.1:" + tls.port();
        String token = SECRET + "." + identity.pin() + ".127.0.0.1:7070";
        String pinned = "-k --pinnedpubkey " + identity.pin().curl() + " ";
        Result joined = paste("sh", base, pinned, token);
        assertThat(joined.exit()).as(joined.output()).isZero();

        String other = "A".repeat(43);
        Result wrong =
            paste("sh", base, pinned, SECRET + "." + other + ".h:1", "--work-dir", temp + "/w");
        assertThat(wrong.exit()).isEqualTo(1);
        assertThat(wrong.output()).contains("has another key than the token names");
        assertThat(temp.resolve("w")).doesNotExist();

        Result plain = paste("sh", base, pinned, PLAIN);
        assertThat(plain.exit()).isEqualTo(1);
        assertThat(plain.output()).contains("without TLS");
      }
    }
    // And the other way round.
    Result plain = join(SECRET + "." + "A".repeat(43) + ".h:1");
    assertThat(plain.exit()).isEqualTo(1);
    assertThat(plain.output()).contains("the token wants TLS");
  }

  @Test
  void isCleanByShellcheck() throws Exception {
    assumeThat(new ProcessBuilder("sh", "-c", "command -v shellcheck").start().waitFor()).isZero();
    Path script = temp.resolve("join.sh");
    try (var in = JoinScript.class.getResourceAsStream("join.sh")) {
      Files.copy(Objects.requireNonNull(in), script);
    }
    Process check = new ProcessBuilder("shellcheck", "-s", "sh", script.toString()).start();
    String said = new String(check.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(check.waitFor()).as(said).isZero();
  }
}
