package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The README's commands, run as they stand there, by a user with an empty home. */
class ReadmeIT {
  private static final Pattern BLOCK =
      Pattern.compile("<!-- tested: (\\w+) -->\\n```bash\\n(.*?)```", Pattern.DOTALL);

  @TempDir Path dir;

  @Test
  void everyTestedBlockDoesWhatItSays() throws Exception {
    Path root = LocalCluster.root();
    Files.createSymbolicLink(dir.resolve("deploy"), root.resolve("deploy"));
    Path home = Files.createDirectory(dir.resolve("home"));
    Path mnist = dir.resolve("mnist");
    DrawDigits.write(mnist, 3_000, 500, 1);
    Map<String, String> environment =
        Map.of(
            "HOME",
            home.toString(),
            "PATH",
            root.resolve("deploy/bin") + ":" + System.getenv("PATH"),
            "MNIST",
            mnist.toString());
    try (Daemon coordinator = daemon("operate", environment)) {
      assertThat(coordinator.ready("grpc")).isEqualTo("127.0.0.1:7070");
      String tokens = run(block("tokens"), environment);
      assertThat(tokens).isNotBlank();
      try (Daemon worker = daemon("worker", environment)) {
        assertThat(worker.ready("worker")).isNotEmpty();
        // In one shell with the block that exports the token, as a user would have it.
        String exports = block("tokens").lines().findFirst().orElseThrow();
        String out = run(exports + "\n" + block("submit"), environment);
        assertThat(out).contains("SUCCEEDED", "eval/accuracy", "model.safetensors");
        assertThat(dir.resolve("model.pth")).isNotEmptyFile();
      }
      for (String other : List.of("advertise", "leaving")) {
        try (Daemon worker = daemon(other, environment)) {
          assertThat(worker.ready("worker")).isNotEmpty();
        }
      }
    }
  }

  private static String block(String name) throws IOException {
    Matcher matcher = BLOCK.matcher(Files.readString(LocalCluster.root().resolve("README.md")));
    while (matcher.find()) {
      if (matcher.group(1).equals(name)) {
        return matcher.group(2);
      }
    }
    throw new IllegalStateException("README.md has no tested block " + name);
  }

  /** A block whose last command stays; exec, so that a signal reaches it. */
  private Daemon daemon(String name, Map<String, String> environment) throws Exception {
    String block = block(name).strip();
    int last = block.lastIndexOf('\n') + 1;
    String script = "cd " + dir + "\n" + block.substring(0, last) + "exec " + block.substring(last);
    return Daemon.start(
        name, List.of("bash", "-e", "-c", script), environment, dir.resolve(name + ".err"));
  }

  private String run(String script, Map<String, String> environment) throws Exception {
    Path out = dir.resolve("out");
    ProcessBuilder builder =
        new ProcessBuilder("bash", "-e", "-o", "pipefail", "-c", script)
            .directory(dir.toFile())
            .redirectErrorStream(true)
            .redirectOutput(out.toFile());
    builder.environment().putAll(environment);
    Process process = builder.start();
    assertThat(process.waitFor(5, TimeUnit.MINUTES)).isTrue();
    String text = Files.readString(out, StandardCharsets.UTF_8);
    assertThat(process.exitValue()).as(text).isZero();
    return text;
  }
}
