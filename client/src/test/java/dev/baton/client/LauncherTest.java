package dev.baton.client;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.dataset.DatasetDigests;
import dev.baton.dataset.DatasetScanner;
import dev.baton.dataset.ProgressListener;
import dev.baton.v1.Dataset;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** deploy/bin/baton in a tree of its own, with a Java that says how it was called. */
class LauncherTest {
  @TempDir Path dir;
  private Path launcher;

  @BeforeEach
  void makeTree() throws IOException {
    dir = dir.toRealPath();
    launcher = dir.resolve("tree/deploy/bin/baton");
    Files.createDirectories(launcher.getParent());
    Files.copy(Path.of("..", "deploy", "bin", "baton"), launcher);
    assertThat(launcher.toFile().setExecutable(true)).isTrue();
    for (String module : List.of("client", "coordinator", "worker")) {
      Path target = Files.createDirectories(dir.resolve("tree/" + module + "/target/lib"));
      Files.createFile(target.resolveSibling("baton-" + module + "-1.0.jar"));
      Files.createFile(target.resolveSibling("baton-" + module + "-1.0-sources.jar"));
    }
    java("17.0.15", "echo \"pid=$$\"; printf '%s\\n' \"$@\"");
  }

  private void java(String version, String script) throws IOException {
    Path java = dir.resolve("jdk/bin/java");
    Files.createDirectories(java.getParent());
    Files.writeString(java, "#!/bin/sh\n" + script + "\n");
    assertThat(java.toFile().setExecutable(true)).isTrue();
    Files.writeString(
        dir.resolve("jdk/release"), "IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"" + version + "\"\n");
  }

  private record Ended(long pid, int code, List<String> out, String err) {}

  private Process start(Path program, Map<String, String> environment, String... args)
      throws IOException {
    ProcessBuilder builder = new ProcessBuilder();
    builder.command().add(program.toString());
    builder.command().addAll(List.of(args));
    builder.environment().put("JAVA_HOME", dir.resolve("jdk").toString());
    builder.environment().remove("BATON_JAVA_OPTS");
    builder.environment().putAll(environment);
    return builder.directory(dir.toFile()).start();
  }

  private Ended run(Path program, Map<String, String> environment, String... args)
      throws IOException, InterruptedException {
    Process process = start(program, environment, args);
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    String err = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(30, TimeUnit.SECONDS)).isTrue();
    return new Ended(process.pid(), process.exitValue(), out.lines().toList(), err);
  }

  private Ended run(String... args) throws IOException, InterruptedException {
    return run(launcher, Map.of(), args);
  }

  private String classPath(String module) {
    Path target = dir.resolve("tree/" + module + "/target");
    return target + "/baton-" + module + "-1.0.jar:" + target + "/lib/*";
  }

  @ParameterizedTest
  @CsvSource({
    "coordinator --data-dir d, coordinator",
    "bench coordinator --workers 3, coordinator",
    "worker --slots 2, worker",
    "bench train --workload linreg, worker",
    "bench allreduce --floats 1 --replicas 2, worker",
    "machine -o json, worker",
    "doctor -o json, client",
    "doctor --work-dir d, worker",
    "doctor -o json --data-dir=d, coordinator",
    "submit coordinator, client",
    "--coordinator worker:1 jobs, client",
    "--token-file=worker --debug jobs, client",
    "drain worker, client",
    "'', client"
  })
  void theVerbPicksTheModule(String args, String module) throws Exception {
    Ended ended = run(args.isEmpty() ? new String[0] : args.split(" "));
    assertThat(ended.err()).isEmpty();
    assertThat(ended.code()).isZero();
    int main = ended.out().indexOf("dev.baton." + module + ".Main");
    assertThat(ended.out().subList(main - 2, main)).containsExactly("-cp", classPath(module));
    assertThat(String.join(" ", ended.out().subList(main + 1, ended.out().size()))).isEqualTo(args);
  }

  @Test
  void completionSeesEveryModuleThatIsHere() throws Exception {
    List<String> out = run("completion", "bash").out();
    String all = classPath("client") + ":" + classPath("coordinator") + ":" + classPath("worker");
    assertThat(out).contains("dev.baton.client.Main", all);
    Files.delete(dir.resolve("tree/coordinator/target/baton-coordinator-1.0.jar"));
    assertThat(run("completion", "bash").out())
        .contains(classPath("client") + ":" + classPath("worker"));
  }

  @Test
  void becomesTheJvmSoThatSignalsReachIt() throws Exception {
    Ended ended = run("worker");
    assertThat(ended.out().get(0)).isEqualTo("pid=" + ended.pid());
    java("17.0.15", "trap 'echo stopped; exit 43' TERM; echo up; while :; do sleep 0.05; done");
    Process process = start(launcher, Map.of(), "coordinator");
    var out = process.inputReader(StandardCharsets.UTF_8);
    assertThat(out.readLine()).isEqualTo("up");
    assertThat(process.toHandle().destroy()).isTrue();
    assertThat(process.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(out.readLine()).isEqualTo("stopped");
    assertThat(process.exitValue()).isEqualTo(43);
  }

  @Test
  void isFoundThroughLinks() throws Exception {
    Path absolute = Files.createSymbolicLink(dir.resolve("absolute"), launcher);
    Path folder = Files.createDirectory(dir.resolve("bin"));
    Path relative = Files.createSymbolicLink(folder.resolve("baton"), Path.of("../absolute"));
    assertThat(run(absolute, Map.of(), "jobs").out()).contains(classPath("client"));
    assertThat(run(relative, Map.of(), "jobs").out()).contains(classPath("client"));
    Ended onPath =
        run(
            Path.of("bash"),
            Map.of("PATH", folder + ":" + System.getenv("PATH")),
            "-c",
            "baton jobs");
    assertThat(onPath.out()).contains(classPath("client"));
  }

  /** A release with a runtime of its own. */
  private Path release() throws IOException {
    Path release = dir.resolve("release");
    Files.createDirectories(release.resolve("bin"));
    Files.copy(launcher, release.resolve("bin/baton"), StandardCopyOption.COPY_ATTRIBUTES);
    Files.createDirectories(release.resolve("natives"));
    for (String jar : List.of("lib/worker/b.jar", "lib/worker/B.jar", "lib/worker/a-1.jar")) {
      Files.createDirectories(release.resolve(jar).getParent());
      Files.createFile(release.resolve(jar));
    }
    Path java = Files.createDirectories(release.resolve("jre/bin")).resolve("java");
    Files.writeString(java, "#!/bin/sh\necho \"$0\"; printf '%s\\n' \"$@\"\n");
    assertThat(java.toFile().setExecutable(true)).isTrue();
    Files.writeString(release.resolve("jre/release"), "JAVA_VERSION=\"25.0.1\"\n");
    return release;
  }

  @Test
  void aReleaseRunsOnItsOwnRuntimeWithItsOwnLibraries() throws Exception {
    Path release = release();
    String lib = release + "/lib/worker/";
    for (String language : List.of("C", "en_US.UTF-8")) {
      Ended ended = run(release.resolve("bin/baton"), Map.of("LC_ALL", language), "worker");
      assertThat(ended.out())
          .startsWith(release + "/jre/bin/java")
          .contains(lib + "B.jar:" + lib + "a-1.jar:" + lib + "b.jar")
          .contains("-Dbaton.natives=" + release + "/natives", "-XX:-UsePerfData");
    }
  }

  @Test
  void aReleaseNamesTheArchiveOfWhatItLacks() throws Exception {
    Ended ended = run(release().resolve("bin/baton"), Map.of(), "coordinator");
    assertThat(ended.code()).isEqualTo(2);
    assertThat(ended.err())
        .isEqualTo(
            "error: this archive has no coordinator; baton-coordinator-*-linux-x86_64*.tar.gz has"
                + " it\n");
  }

  @Test
  void saysWhatIsMissing() throws Exception {
    Files.delete(dir.resolve("tree/worker/target/baton-worker-1.0.jar"));
    assertThat(run("worker").err())
        .isEqualTo(
            "error: not built yet: run (cd " + dir + "/tree && mvn -q -B package -DskipTests)\n");
    assertThat(run("bench", "tain"))
        .satisfies(e -> assertThat(e.code()).isEqualTo(2))
        .satisfies(
            e ->
                assertThat(e.err())
                    .contains("expected bench train, allreduce, collectives or coordinator"));
    java("11.0.2", "exit 9");
    Ended old = run("jobs");
    assertThat(old.code()).isEqualTo(2);
    assertThat(old.err()).contains("is version 11.0.2; install a Java runtime of version 17");
    Files.delete(dir.resolve("jdk/bin/java"));
    assertThat(run("jobs").err()).contains("where no bin/java is; install").hasLineCount(1);
  }

  @Test
  void namesOfFilesKeepTheirLettersInAnyLocale() throws Exception {
    Path picture = dir.resolve("1.png");
    ImageIO.write(new BufferedImage(2, 2, BufferedImage.TYPE_INT_RGB), "png", picture.toFile());
    Path folder = dir.resolve("pictures");
    // By a shell, as this JVM's own locale may lack the letters: two classes.
    for (String name : List.of("\\347\\214\\253", "\\347\\213\\227")) {
      String make = "d=$1/train/$(printf '" + name + "'); mkdir -p \"$d\"; cp \"$2\" \"$d\"";
      assertThat(
              run(Path.of("sh"), Map.of(), "-c", make, "sh", folder.toString(), picture.toString())
                  .code())
          .isZero();
    }
    String java =
        "\"%s/bin/java\" -cp \"%s\" '%s'"
            .formatted(
                System.getProperty("java.home"),
                System.getProperty("java.class.path"),
                Scan.class.getName());
    java("17.0.15", "for last; do :; done; exec " + java + " \"$last\"");
    Ended utf8 = scan(launcher, Map.of("LC_ALL", "C.UTF-8"), folder);
    assertThat(utf8.out()).hasSize(2).first().isEqualTo("2 classes");
    for (Map<String, String> locale :
        List.of(
            Map.of("LC_ALL", "C"),
            Map.of("LC_ALL", "", "LC_CTYPE", "", "LANG", ""),
            Map.of("LC_ALL", "", "LC_CTYPE", "POSIX", "LANG", "C.UTF-8"))) {
      assertThat(scan(launcher, locale, folder).out()).as("%s", locale).isEqualTo(utf8.out());
    }
    Ended blind = scan(dir.resolve("jdk/bin/java"), Map.of("LC_ALL", "C"), folder);
    assertThat(blind.code()).isOne();
    assertThat(blind.err()).contains("names must be UTF-8").contains("export LC_ALL=C.UTF-8");
  }

  private Ended scan(Path program, Map<String, String> locale, Path folder) throws Exception {
    return run(program, locale, "dataset", "push", "pictures", folder.toString());
  }

  /** What a push makes of a folder, as far as names go. */
  static final class Scan {
    private Scan() {}

    public static void main(String[] args) throws Exception {
      Path staging = Files.createTempDirectory("staging");
      Dataset dataset =
          DatasetScanner.scan(Path.of(args[0]), null, staging, ProgressListener.NONE).dataset();
      System.out.println(dataset.getClassNamesCount() + " classes");
      System.out.println(DatasetDigests.digest(dataset));
    }
  }

  @Test
  void optionsFitTheJvmAndTheUsersComeLast() throws Exception {
    assertThat(run("jobs").out()).noneMatch(arg -> arg.contains("native-access"));
    java("25.0.1", "printf '%s\\n' \"$@\"");
    List<String> out = run(launcher, Map.of("BATON_JAVA_OPTS", "-Xmx1g -Dx=y"), "worker").out();
    assertThat(out).contains("--enable-native-access=ALL-UNNAMED", "-Xmx96m");
    int cp = out.indexOf("-cp");
    assertThat(out.subList(cp - 2, cp)).containsExactly("-Xmx1g", "-Dx=y");
  }
}
