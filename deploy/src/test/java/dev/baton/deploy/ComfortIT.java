package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.baton.deploy.LocalCluster.Output;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What makes life easier: completion, top, events, doctor. */
class ComfortIT {
  private static final String JOB =
      """
      name: comfortable
      model: {builtin: {name: linear}}
      data:
        train: {synthetic: {regression: {samples: 1000}}, shuffle: false}
      training:
        max_steps: %d
        batch_size: 100
        optimizer: {sgd: {lr: 0.01}}
        loss: mse
      """;

  @TempDir static Path dir;
  private static LocalCluster cluster;

  @BeforeAll
  static void start() throws Exception {
    cluster = LocalCluster.start(dir.resolve("cluster"), "127.0.0.1", "--tls");
    cluster.startWorker("first");
  }

  @AfterAll
  static void stop() {
    cluster.close();
  }

  private static String text(Path file) throws Exception {
    return Files.readString(file, StandardCharsets.UTF_8);
  }

  @Test
  void tabCompletesInBash() throws Exception {
    Path script = dir.resolve("completion.bash");
    Files.writeString(script, cluster.baton("completion", "bash").orFail() + "\n");
    // As bash calls it when TAB is pressed; that it is bash who calls is all that compopt wants.
    String ask =
        """
        compopt() { :; }
        . %s
        try() {
          COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
          _complete_baton
          printf '%%s\\n' "${COMPREPLY[*]}"
        }
        complete -p baton
        try baton sub
        try baton coordinator --li
        try baton worker --work
        try baton doctor --data
        try baton bench tr
        try baton dataset pu
        try baton jobs --output js
        """
            .formatted(script);
    Process bash = new ProcessBuilder("bash", "-c", ask).redirectErrorStream(true).start();
    String said = new String(bash.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(bash.waitFor()).as(said).isZero();
    assertThat(said)
        .isEqualTo(
            """
            complete -o default -F _complete_baton baton
            submit
            --listen
            --work-dir
            --data-dir
            train
            push
            json
            """);
  }

  /** With real keys in a real terminal: zsh completes nowhere else. */
  @Test
  void tabCompletesInZsh() throws Exception {
    assumeTrue(Files.isExecutable(Path.of("/usr/bin/zsh")), "there is no /usr/bin/zsh");
    Path script = dir.resolve("completion.zsh");
    Files.writeString(script, cluster.baton("completion", "zsh").orFail() + "\n");
    // Its home is for what compinit keeps.
    try (Terminal zsh = Terminal.zsh(dir, dir.resolve("zsh.seen"))) {
      zsh.type("baton() { print -r -- \"ran: $*.\"; }; source <(cat " + script + ")\n");
      String[][] keysAndVerbs = {
        {"sub", "submit"},
        {"coordinator --li", "coordinator --listen"},
        {"worker --work", "worker --work-dir"},
        {"doctor --data", "doctor --data-dir"},
        {"bench tr", "bench train"},
        {"dataset pu", "dataset push"},
        {"jobs --output js", "jobs --output json"},
      };
      for (String[] pair : keysAndVerbs) {
        zsh.type("baton " + pair[0] + "\t\n");
        zsh.await(text -> text.contains("ran: " + pair[1] + "."));
      }
      zsh.type("exit\n");
      assertThat(zsh.exit()).as(zsh.seen()).isZero();
    }
  }

  @Test
  void eventsFollowAJobToItsEnd() throws Exception {
    String job = cluster.submit(JOB.formatted(50));
    Path live = dir.resolve("live");
    Process follower =
        cluster
            .client("events", "-f", "--job", job, "-o", "json")
            .redirectErrorStream(true)
            .redirectOutput(live.toFile())
            .start();
    assertThat(follower.waitFor(2, TimeUnit.MINUTES)).as(text(live)).isTrue();
    assertThat(follower.exitValue()).as(text(live)).isZero();
    List<JsonNode> events = new ArrayList<>();
    for (String line : text(live).lines().toList()) {
      events.add(LocalCluster.JSON.readTree(line));
    }
    assertThat(events)
        .extracting(event -> event.get("event").asText())
        .contains("attempt_started", "attempt_ended")
        .doesNotContain("step");
    assertThat(events.get(0).get("message").asText()).isEqualTo("submitted");
    assertThat(events).allSatisfy(e -> assertThat(e.get("job").asText()).isEqualTo(job));
    JsonNode last = events.get(events.size() - 1);
    assertThat(last.get("state").asText()).isEqualTo("SUCCEEDED");
    assertThat(last.get("step").asLong()).isEqualTo(50);

    Output all = cluster.baton("events");
    assertThat(all.orFail().lines().findFirst().orElse("")).endsWith("coordinator started");
    assertThat(all.out()).contains("worker connected first: ", job + "  SUCCEEDED");
    assertThat(cluster.baton("events", "--job", "nobody").exit()).isEqualTo(1);
  }

  @Test
  void topShowsWorkersAndJobsOnATerminalAndLeavesItAsItWas() throws Exception {
    String job = cluster.submit(JOB.formatted(100_000_000));
    try {
      try (Watch watch = Watch.of(cluster, job)) {
        watch.awaitStep(0, 1, Duration.ofMinutes(2));
      }
      String once = cluster.baton("top").orFail();
      assertThat(once).contains(job, "comfortable", "first", "ACTIVE", "1 running");
      assertThat(once).as("in a pipe").doesNotContain("\u001b");
      JsonNode json =
          LocalCluster.JSON.readTree(cluster.baton("top", "--once", "-o", "json").out());
      assertThat(json.at("/workers/0/name").asText()).isEqualTo("first");
      assertThat(json.at("/jobs/0/id").asText()).isEqualTo(job);

      Path seen = dir.resolve("seen");
      try (Terminal terminal = Terminal.client(cluster, seen, 12, 70, "top")) {
        terminal.await(text -> text.split("\u001b\\[H", -1).length > 4);
        terminal.type(Terminal.CONTROL_C);
        assertThat(terminal.exit()).as(terminal.seen()).isEqualTo(130);
      }
      assertThat(text(seen)).startsWith("\u001b[?1049h\u001b[?25l").doesNotContain("Exception");
      assertThat(text(seen).stripTrailing()).endsWith("\u001b[?25h\u001b[?1049l");
      String[] screens = text(seen).split("\u001b\\[H", -1);
      // The terminal adds a return of its own to each line's end.
      assertThat(screens[3].replaceAll("\u001b\\[[?0-9]*[A-Za-z]|\r", "").lines())
          .hasSizeLessThanOrEqualTo(12)
          .allSatisfy(shown -> assertThat(shown).hasSizeLessThanOrEqualTo(70))
          .anySatisfy(shown -> assertThat(shown).startsWith(job));
    } finally {
      cluster.baton("cancel", job).orFail();
    }
  }

  /** Whatever is not ok, as STATUS CHECK. */
  private static List<String> findings(Output output) throws Exception {
    List<String> findings = new ArrayList<>();
    for (JsonNode finding : LocalCluster.JSON.readTree(output.out())) {
      if (!finding.get("status").asText().equals("ok")) {
        findings.add(finding.get("status").asText() + " " + finding.get("check").asText());
      }
    }
    assertThat(output.exit()).isEqualTo(findings.toString().contains("FAIL") ? 1 : 0);
    return findings;
  }

  private static List<String> doctor(String... args) throws Exception {
    List<String> all = new ArrayList<>(List.of("doctor", "-o", "json"));
    all.addAll(List.of(args));
    return findings(cluster.baton(all.toArray(String[]::new)));
  }

  private static String withSecret(String token, String secret) {
    return secret + token.substring(token.indexOf('.'));
  }

  @Test
  void doctorOfAClient() throws Exception {
    assertThat(doctor()).isEmpty();
    assertThat(cluster.baton("doctor").orFail().lines()).allMatch(line -> line.startsWith("ok "));
    String token = text(cluster.adminToken()).strip();
    assertThat(doctor("--token", withSecret(token, "baton_nobody"))).containsExactly("FAIL token");
    assertThat(doctor("--coordinator", "127.0.0.1:1")).containsExactly("FAIL grpc");
    String[] parts = token.split("\\.", 3);
    String foreign = parts[0] + "." + "A".repeat(43) + "." + parts[2];
    assertThat(doctor("--token", foreign)).containsExactly("FAIL tls");
    assertThat(doctor("--token", "a.b")).containsExactly("FAIL settings");
  }

  @Test
  void doctorOfAWorker() throws Exception {
    String work = dir.resolve("cluster/first").toString();
    assertThat(doctor("--work-dir", work)).isEmpty();
    assertThat(cluster.baton("doctor", "--work-dir", work).orFail())
        .contains("runs as the worker of", "libtorch: 2.");
    Path file = Files.writeString(dir.resolve("a-file"), "");
    assertThat(doctor("--work-dir", file.toString())).contains("FAIL work-dir");
  }

  @Test
  void doctorOfACoordinator() throws Exception {
    String data = dir.resolve("cluster/coordinator").toString();
    String http = cluster.coordinator().ready("http");
    assertThat(
            doctor(
                "--data-dir",
                data,
                "--listen",
                cluster.address(),
                "--http",
                http,
                "--objects",
                cluster.objectsAddress(),
                "--tls"))
        .isEmpty();
    assertThat(
            doctor(
                "--data-dir",
                dir.resolve("other").toString(),
                "--listen",
                cluster.address(),
                "--http",
                "127.0.0.1:0",
                "--objects",
                "127.0.0.1:0"))
        .containsExactly("FAIL listen");
    assertThat(doctor("--data-dir", "/proc/baton", "--listen", "127.0.0.1:0"))
        .contains("FAIL data-dir");
  }
}
