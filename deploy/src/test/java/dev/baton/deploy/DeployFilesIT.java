package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What lies in deploy/ for machines that are not here: that the tools which judge it without one
 * find nothing, and that it names only what Baton has.
 */
class DeployFilesIT {
  private static final Path DEPLOY = LocalCluster.root().resolve("deploy");
  private static final Pattern OPTION = Pattern.compile("(?<![\\w-])--[a-z][a-z-]+");

  @TempDir Path dir;

  private static String read(String file) throws IOException {
    return Files.readString(DEPLOY.resolve(file));
  }

  private static List<Path> files(String folder) throws IOException {
    try (Stream<Path> files = Files.list(DEPLOY.resolve(folder))) {
      return files.sorted().toList();
    }
  }

  private LocalCluster.Output run(List<String> command, String... environment)
      throws IOException, InterruptedException {
    Path out = Files.createTempFile(dir, "run", ".out");
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(DEPLOY.resolve("docker").toFile())
            .redirectErrorStream(true)
            .redirectOutput(out.toFile());
    for (int i = 0; i < environment.length; i += 2) {
      builder.environment().put(environment[i], environment[i + 1]);
    }
    Process process;
    try {
      process = builder.start();
    } catch (IOException e) {
      return new LocalCluster.Output(127, "", String.valueOf(e.getMessage()));
    }
    assertThat(process.waitFor(2, TimeUnit.MINUTES)).isTrue();
    String text = Files.readString(out);
    return new LocalCluster.Output(process.exitValue(), text, text);
  }

  @Test
  void bothLanguagesHaveTheSameCommandsAndEachSaysWhetherItIsTested() throws Exception {
    DeployReadme english = DeployReadme.read("README.md");
    assertThat(english.blocks()).hasSizeGreaterThan(10);
    assertThat(DeployReadme.read("README.zh-CN.md")).isEqualTo(english);
    assertThat(english.blocks())
        .allSatisfy(
            block -> {
              assertThat(block.marker()).as("%s", block).isIn("tested", "not tested");
              assertThat(block.about()).as("%s", block).isNotBlank();
            });
    String test = Files.readString(DEPLOY.resolve(source("DeployReadmeIT")));
    assertThat(english.blocks().stream().filter(block -> block.marker().equals("tested")))
        .allSatisfy(block -> assertThat(test).contains("step(\"" + block.about() + "\""));
  }

  private static String source(String test) {
    return "src/test/java/dev/baton/deploy/" + test + ".java";
  }

  @Test
  void cloudInitHoldsTheServicesAsTheyAre() throws Exception {
    for (String name : List.of("coordinator", "worker")) {
      String unit = read("systemd/baton-" + name + ".service").indent(6);
      String bare = unit.replaceAll("(?m)^ +$", "");
      assertThat(read("cloud-init/" + name + ".yaml")).contains("    content: |\n" + bare);
    }
  }

  @Test
  void cloudInitFilesFitItsSchema() throws Exception {
    String cache = System.getenv("XDG_CACHE_HOME");
    Path packages =
        (cache == null ? Path.of(System.getProperty("user.home"), ".cache") : Path.of(cache))
            .resolve("baton/cloud-init");
    assumeTrue(Files.isDirectory(packages), "no cloud-init; deploy/install-test-tools brings it");
    for (Path file : files("cloud-init")) {
      LocalCluster.Output judged = schema(packages, file);
      assertThat(judged.exit()).as(judged.out()).isZero();
      assertThat(judged.out()).contains("Valid");
    }
    Path wrong = Files.writeString(dir.resolve("wrong"), "#cloud-config\nwrite_files: [{at: /}]\n");
    assertThat(schema(packages, wrong).exit()).isNotZero();
  }

  private LocalCluster.Output schema(Path packages, Path file) throws Exception {
    return run(
        List.of("/usr/bin/python3", "-m", "cloudinit.cmd.main", "schema", "-c", file.toString()),
        "PYTHONPATH",
        packages.toString());
  }

  @Test
  void theComposeFileIsValidAndWantsItsSettings() throws Exception {
    List<String> tool =
        run(List.of("docker", "compose", "version")).exit() == 0
            ? List.of("docker", "compose")
            : List.of("docker-compose");
    assumeTrue(
        run(List.of(tool.get(0), "--version")).exit() == 0,
        "no docker compose; deploy/install-test-tools brings one");
    List<String> config = new ArrayList<>(tool);
    // In place of a .env that somebody has made beside it.
    Path empty = Files.createFile(dir.resolve("env"));
    config.addAll(List.of("--env-file", empty.toString(), "-f", "compose.yaml", "config"));
    LocalCluster.Output valid =
        run(config, "BATON_HOST", "198.51.100.7", "MINIO_ROOT_PASSWORD", "a-password");
    assertThat(valid.exit()).as(valid.out()).isZero();
    assertThat(valid.out()).contains("--advertise=198.51.100.7").doesNotContain("warning");
    LocalCluster.Output unset = run(config, "MINIO_ROOT_PASSWORD", "a-password");
    assertThat(unset.exit()).isNotZero();
    assertThat(unset.out()).contains("the name or address of this machine");
  }

  /** Every source is in a release (or made in a stage before), and nothing stays root's. */
  @Test
  void dockerfilesTakeWhatAReleaseHas() throws Exception {
    String version = version();
    List<Path> release =
        Stream.of(
                "SHA256SUMS",
                "baton-client-" + version + "-linux-x86_64.tar.gz",
                "baton-coordinator-" + version + "-linux-x86_64.tar.gz",
                "baton-worker-" + version + "-linux-x86_64-cpu.tar.gz",
                "baton-worker-" + version + "-linux-x86_64-cu12.tar.gz",
                "baton-worker-" + version + "-linux-x86_64-cu13.tar.gz")
            .map(name -> Path.of("target/release", name))
            .toList();
    for (Path file : files("docker")) {
      if (!file.toString().endsWith("Dockerfile")) {
        continue;
      }
      String text = Files.readString(file);
      Set<String> stages = new TreeSet<>();
      boolean user = false;
      for (String line : text.replace("\\\n", " ").lines().toList()) {
        String[] words = line.trim().split(" +", -1);
        switch (words[0]) {
          case "FROM" -> {
            user = false;
            if (words.length > 2) {
              stages.add(words[3]);
            }
          }
          case "USER" -> user = !words[1].startsWith("0") && !words[1].startsWith("root");
          case "ADD", "COPY" -> {
            if (words[1].startsWith("--from=")) {
              assertThat(stages).contains(words[1].substring("--from=".length()));
            } else {
              for (int i = 1; i < words.length - 1; i++) {
                PathMatcher glob = FileSystems.getDefault().getPathMatcher("glob:" + words[i]);
                assertThat(release).as(line).anyMatch(glob::matches);
              }
            }
          }
          case "", "#", "ARG", "RUN", "ENV", "VOLUME", "EXPOSE", "ENTRYPOINT", "CMD" -> {}
          default -> throw new AssertionError(file + ": " + line);
        }
      }
      assertThat(user).as("%s ends with a USER of its own", file).isTrue();
      assertThat(text).doesNotContain("apt-get");
    }
  }

  private static String version() throws IOException {
    Matcher version =
        Pattern.compile("\n  <version>(.*?)</version>")
            .matcher(Files.readString(LocalCluster.root().resolve("pom.xml")));
    assertThat(version.find()).isTrue();
    return version.group(1);
  }

  /** The image has what the worker would ask pip for. */
  @Test
  void theImageForGpusBringsCudasLibraries() throws Exception {
    String build =
        Files.readString(
            LocalCluster.root()
                .resolve("worker/src/main/java/dev/baton/worker/natives/TorchBuild.java"));
    Matcher pins =
        Pattern.compile("\"(nvidia-[\\w-]+==[\\d.]+)\"")
            .matcher(build.substring(build.indexOf("PINS_13 =")));
    Set<String> asked = new TreeSet<>();
    while (pins.find()) {
      asked.add(pins.group(1));
    }
    assertThat(asked).hasSizeGreaterThan(10);
    Set<String> brought = new TreeSet<>();
    Matcher lines =
        Pattern.compile("nvidia-[\\w-]+==[\\d.]+").matcher(read("docker/worker-cuda.Dockerfile"));
    while (lines.find()) {
      brought.add(lines.group());
    }
    assertThat(brought).isEqualTo(asked);
  }

  /** Of the coordinator in its lines, of the worker in the others. */
  @Test
  void onlyOptionsThatBatonHasAreUsed() throws Exception {
    String baton = DEPLOY.resolve("bin/baton").toString();
    Set<String> coordinator = options(run(List.of(baton, "coordinator", "--help")).orFail());
    Set<String> worker = options(run(List.of(baton, "worker", "--help")).orFail());
    assertThat(coordinator).contains("--data-dir");
    assertThat(worker).contains("--work-dir");

    assertThat(coordinator)
        .containsAll(options(lines("systemd/baton-coordinator.service", "^(Exec|# OPT).*")))
        .containsAll(options(lines("cloud-init/coordinator.yaml", "^ *OPTIONS=.*")))
        .containsAll(options(lines("docker/coordinator.Dockerfile", "^CMD .*")))
        .containsAll(options(lines("docker/compose.yaml", "^      - --.*")));
    assertThat(worker)
        .containsAll(options(lines("docker/worker.Dockerfile", "^CMD .*")))
        .containsAll(options(lines("docker/worker-cuda.Dockerfile", "^CMD .*")))
        .containsAll(options(lines("notebooks/colab.ipynb", "^ *\"options = .*")))
        .containsAll(options(lines("notebooks/kaggle.ipynb", "^ *\"options = .*")));
    assertThat(options(lines("docker/coordinator.Dockerfile", "^CMD .*"))).hasSize(4);
    assertThat(options(lines("docker/worker.Dockerfile", "^CMD .*"))).hasSize(2);
  }

  private static String lines(String file, String pattern) throws IOException {
    Matcher lines = Pattern.compile(pattern, Pattern.MULTILINE).matcher(read(file));
    StringBuilder found = new StringBuilder();
    while (lines.find()) {
      found.append(lines.group()).append('\n');
    }
    return found.toString();
  }

  private static Set<String> options(String text) {
    Set<String> options = new TreeSet<>();
    Matcher option = OPTION.matcher(text);
    while (option.find()) {
      options.add(option.group());
    }
    return options;
  }
}
