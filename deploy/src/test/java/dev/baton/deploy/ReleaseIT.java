package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * The release archives, unpacked, with an empty environment: no Java, an empty HOME, and (where the
 * tests run as root) a /tmp that cannot be written.
 */
class ReleaseIT {
  private static final boolean ROOT = System.getProperty("user.name").equals("root");
  private static final Duration LIMIT = Duration.ofMinutes(3);

  /** What the launcher calls. */
  private static final List<String> TOOLS = List.of("bash", "readlink", "sed");

  private static final String JOB =
      """
      name: jpeg
      model: {builtin: {name: lenet, num_classes: 2}}
      data: {train: {dataset: pictures, split: train}}
      training:
        epochs: 1000000
        batch_size: 4
        optimizer: {sgd: {lr: 0.001}}
        loss: cross_entropy
        seed: 1
      checkpoint: {interval: 1s}
      """;

  /** Not in /tmp. */
  private static final Path DIR = LocalCluster.root().resolve("deploy/target/release-it");

  private static Path unpacked;

  private final List<Daemon> daemons = new ArrayList<>();
  private Path home;
  private Path tools;
  private Path temporary;

  @BeforeAll
  static void unpack() throws Exception {
    Path archives = ReleaseArchives.build();
    delete(DIR);
    unpacked = Files.createDirectories(DIR.resolve("unpacked"));
    assertThatSizesAreSaid(archives);
    run(archives, "sha256sum", "--quiet", "-c", "SHA256SUMS");
    for (Path archive : list(archives, ".tar.gz")) {
      run(unpacked, "tar", "-xzf", archive.toString());
    }
  }

  @BeforeEach
  void prepare() throws Exception {
    home = Files.createDirectories(DIR.resolve("home"));
    temporary = Files.createDirectories(DIR.resolve("tmp"));
    tools = Files.createDirectories(DIR.resolve("tools"));
    for (String tool : TOOLS) {
      if (!Files.exists(tools.resolve(tool))) {
        Files.createSymbolicLink(tools.resolve(tool), Path.of("/usr/bin", tool));
      }
    }
  }

  @AfterEach
  void stop() throws Exception {
    daemons.forEach(Daemon::close);
    delete(DIR);
  }

  private static void run(Path in, String... command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(command).directory(in.toFile()).inheritIO().start();
    assertThat(process.waitFor()).as("%s", List.of(command)).isZero();
  }

  private static List<Path> list(Path folder, String suffix) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.filter(file -> file.toString().endsWith(suffix)).sorted().toList();
    }
  }

  private static void delete(Path folder) throws IOException, InterruptedException {
    run(Path.of("/"), "rm", "-rf", folder.toString());
  }

  private static void assertThatSizesAreSaid(Path archives) throws IOException {
    List<String> said = Files.readAllLines(ReleaseArchives.log());
    for (Path archive : list(archives, ".tar.gz")) {
      String size = String.format(Locale.ROOT, "%.1f MB", Files.size(archive) / 1e6);
      assertThat(said)
          .filteredOn(line -> line.startsWith(archive.getFileName() + " "))
          .singleElement()
          .asString()
          .matches(".* +" + Pattern.quote(size) + ", unpacked +[1-9]\\d* MB");
    }
    assertThat(list(archives, ".tar.gz")).hasSize(3);
  }

  private static Path launcher(String archive) throws IOException {
    try (Stream<Path> folders = Files.list(unpacked)) {
      return folders
          .filter(folder -> folder.getFileName().toString().startsWith("baton-" + archive + "-"))
          .findFirst()
          .orElseThrow()
          .resolve("bin/baton");
    }
  }

  /** A command line that runs {@code baton} of an archive in an empty environment. */
  private List<String> baton(String archive, Map<String, String> variables, String... arguments)
      throws IOException {
    List<String> line = new ArrayList<>();
    if (ROOT) {
      line.addAll(
          List.of(
              "/usr/bin/unshare",
              "-m",
              "/bin/sh",
              "-c",
              "/bin/mount --bind \"$0\" /tmp && /bin/mount -o remount,ro,bind /tmp && exec \"$@\"",
              temporary.toString()));
    }
    line.addAll(List.of("/usr/bin/env", "-i", "HOME=" + home, "PATH=" + tools));
    variables.forEach((name, value) -> line.add(name + "=" + value));
    line.add(launcher(archive).toString());
    line.addAll(List.of(arguments));
    return line;
  }

  private Daemon start(String archive, String... arguments) throws Exception {
    Daemon daemon =
        Daemon.start(
            archive, baton(archive, Map.of(), arguments), Map.of(), DIR.resolve(archive + ".err"));
    daemons.add(daemon);
    return daemon;
  }

  private String client(Map<String, String> variables, String... arguments) throws Exception {
    return call("client", variables, arguments);
  }

  private String call(String archive, Map<String, String> variables, String... arguments)
      throws Exception {
    Path err = DIR.resolve("call.err");
    Process process =
        new ProcessBuilder(baton(archive, variables, arguments))
            .redirectError(err.toFile())
            .start();
    process.getOutputStream().close();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS)).isTrue();
    assertThat(process.exitValue())
        .as("%s: %s %s", List.of(arguments), out, Files.readString(err))
        .isZero();
    assertThat(Files.readString(err)).doesNotContain("WARNING");
    return out.strip();
  }

  private static void drawPictures(Path folder) throws IOException {
    Random random = new Random(1);
    for (String kind : List.of("dark", "bright")) {
      Path pictures = Files.createDirectories(folder.resolve("train").resolve(kind));
      for (int i = 0; i < 20; i++) {
        BufferedImage picture = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
        Graphics2D graphics = picture.createGraphics();
        int shade = random.nextInt(100) + (kind.equals("bright") ? 150 : 0);
        graphics.setColor(new Color(shade, shade / 2, shade));
        graphics.fillRect(0, 0, 32, 32);
        graphics.dispose();
        assertThat(ImageIO.write(picture, "jpg", pictures.resolve(i + ".jpg").toFile())).isTrue();
      }
    }
  }

  /** Shared libraries that a process and those that it started have loaded. */
  private static Set<String> libraries(Daemon daemon) throws IOException {
    List<Long> processes = new ArrayList<>(List.of(daemon.pid()));
    daemon.children().forEach(child -> processes.add(child.pid()));
    Set<String> libraries = new TreeSet<>();
    for (long pid : processes) {
      Path maps = Path.of("/proc", Long.toString(pid), "maps");
      try (Stream<String> lines = Files.lines(maps)) {
        lines
            // The linker looks into its cache for a moment.
            .filter(line -> line.contains(".so") && !line.endsWith("/etc/ld.so.cache"))
            .forEach(line -> libraries.add(line.substring(line.indexOf('/'))));
      } catch (IOException | java.io.UncheckedIOException e) {
        if (Files.exists(maps)) {
          throw e; // else it has ended
        }
      }
    }
    return libraries;
  }

  @Test
  void theArchivesRunAJobOnJpegsAndLeaveNothingElsewhere() throws Exception {
    Daemon coordinator =
        start(
            "coordinator",
            "coordinator",
            "--data-dir",
            DIR.resolve("data").toString(),
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--objects",
            "127.0.0.1:0");
    Map<String, String> as =
        Map.of(
            "BATON_COORDINATOR",
            coordinator.ready("grpc"),
            "BATON_TOKEN",
            Files.readString(DIR.resolve("data/admin.token")).strip(),
            // The client notes uploads that broke off, and needs room while it sends.
            "XDG_STATE_HOME",
            DIR.resolve("state").toString(),
            "TMPDIR",
            Files.createDirectories(DIR.resolve("scratch")).toString());
    List<String> created = client(as, "token", "create", "--role", "worker").lines().toList();
    Path token = Files.writeString(DIR.resolve("token"), created.get(created.size() - 1));
    Path work = DIR.resolve("work");
    Daemon worker =
        start(
            "worker",
            "worker",
            "--coordinator",
            coordinator.ready("grpc"),
            "--token-file",
            token.toString(),
            "--work-dir",
            work.toString());
    drawPictures(DIR.resolve("pictures"));
    client(
        as,
        "dataset",
        "push",
        "pictures",
        DIR.resolve("pictures").toString(),
        "--format",
        "image-folder");
    String job = client(as, "submit", Files.writeString(DIR.resolve("job.yaml"), JOB).toString());
    JsonNode shown = show(as, job);
    for (long end = System.nanoTime() + LIMIT.toNanos();
        shown.at("/progress/step").asLong() < 1 && System.nanoTime() < end;
        shown = show(as, job)) {
      Thread.sleep(200);
    }
    assertThat(shown.at("/progress/step").asLong()).as("%s", shown).isPositive();

    Set<String> loaded = libraries(worker);
    String own = unpacked.toString();
    assertThat(loaded)
        .anyMatch(file -> file.startsWith(own) && file.endsWith("/jre/lib/libjavajpeg.so"))
        .anyMatch(file -> file.startsWith(own) && file.endsWith("/natives/libtorch_cpu.so"));
    assertThat(loaded)
        .filteredOn(file -> !file.startsWith(own) && !file.startsWith(work.toString()))
        .allMatch(
            file ->
                file.matches(
                    ".*/(ld-linux-x86-64|lib(c|m|dl|rt|pthread|util|stdc\\+\\+|gcc_s|nss_\\w+"
                        + "|resolv))[.-].*"));
    client(as, "cancel", job);
    assertThatTheClientStartsFromItsCache(as);

    // One that ends by itself, and whose model comes back.
    Path shortJob = DIR.resolve("short.yaml");
    Files.writeString(shortJob, JOB.replace("epochs: 1000000", "max_steps: 5"));
    String brief = client(as, "submit", shortJob.toString());
    client(as, "wait", brief, "--timeout", LIMIT.toSeconds() + "s");
    assertThat(show(as, brief).at("/state").asText()).isEqualTo("SUCCEEDED");
    Path model = DIR.resolve("model.pth");
    client(as, "artifacts", "get", brief, "model.pth", "-O", model.toString());
    // A zip file, as PyTorch writes them: LeNet's 62,006 parameters (with 10 classes), and more.
    assertThat(Files.readAllBytes(model)).startsWith('P', 'K').hasSizeGreaterThan(200_000);

    assertThat(worker.terminate(LIMIT)).isZero();
    coordinator.terminate(LIMIT);

    assertThat(home).isEmptyDirectory();
    assertThat(temporary).isEmptyDirectory();
    try (Stream<Path> left = Files.list(work)) {
      assertThat(left.map(file -> file.getFileName().toString()))
          .isSubsetOf(
              "attempts",
              "datasets",
              "decoded",
              "lock",
              "tmp",
              "trainers",
              "worker.log",
              "worker.log.1");
    }
    assertThat(Files.readString(work.resolve("worker.log"))).contains("libtorch for CPUs");
    JsonNode machine =
        LocalCluster.JSON.readTree(call("worker", Map.of(), "machine", "-o", "json"));
    assertThat(machine.path("natives").asText()).isEqualTo("cpu");
    assertThat(machine.path("problem").isNull()).as("%s", machine).isTrue();
    assertThat(machine.at("/matrix_products/0/gflops").asDouble()).isPositive();
  }

  /** In that mode a JVM does not start where the cache is missing or was made for other files. */
  private void assertThatTheClientStartsFromItsCache(Map<String, String> as) throws Exception {
    for (String archive : List.of("client", "coordinator")) {
      Path jre = launcher(archive).resolveSibling("../jre/release").normalize();
      if (Files.readString(jre).matches("(?s).*JAVA_VERSION=\"(1\\d|2[0-4])\\D.*")) {
        continue; // it cannot make one
      }
      Map<String, String> strictly = new HashMap<>(as);
      strictly.put("BATON_JAVA_OPTS", "-XX:AOTMode=on");
      call(archive, strictly, "jobs");
    }
  }

  private JsonNode show(Map<String, String> as, String job) throws Exception {
    return LocalCluster.JSON.readTree(client(as, "show", job, "-o", "json"));
  }
}
