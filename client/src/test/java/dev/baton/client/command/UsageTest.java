package dev.baton.client.command;

import static dev.baton.client.testing.Samples.keys;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import dev.baton.client.testing.Harness;
import dev.baton.client.testing.Harness.Outcome;
import dev.baton.client.testing.ManualTime;
import dev.baton.v1.Gpu;
import dev.baton.v1.Machine;
import dev.baton.v1.WorkerInfo;
import io.grpc.Status;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Workers and tokens; usage, settings and errors of every verb. */
class UsageTest {
  private static final long NOW = ManualTime.START_MILLIS;

  @TempDir Path dir;
  private Harness baton;

  @BeforeEach
  void start() {
    baton = new Harness(dir);
  }

  @AfterEach
  void stop() {
    baton.close();
  }

  @Test
  void workers() {
    baton.coordinator.workers.add(
        WorkerInfo.newBuilder()
            .setId("id-1")
            .setName("w1")
            .setState("ACTIVE")
            .setSlots(2)
            .addJobs("j1")
            .setConnectedAtMs(NOW - 3_720_000)
            .setMachine(
                Machine.newBuilder()
                    .setHostname("h")
                    .setCpus(8)
                    .setMemoryBytes(16L << 30)
                    .addGpus(Gpu.newBuilder().setModel("T4").setMemoryBytes(15L << 30)))
            .build());
    assertThat(baton.run("workers").out())
        .isEqualTo(
            """
            NAME  STATE   JOBS  SLOTS  CPUS    MEMORY  GPUS  CONNECTED  ID
            w1    ACTIVE     1      2     8  16.0 GiB  T4    1h02m      id-1
            """);
    JsonNode json = baton.run("workers", "-o", "json").json();
    assertThat(keys(json.get(0)))
        .containsExactly("id", "name", "state", "slots", "jobs", "connected_at", "machine");
    assertThat(json.at("/0/machine/gpus/0/model").asText()).isEqualTo("T4");
    assertThat(baton.run("drain", "w1")).isEqualTo(new Outcome(0, "DRAINING\n", ""));
    assertThat(baton.run("drain", "w2").code()).isEqualTo(1);
  }

  @Test
  void tokens() {
    Outcome plain = baton.run("token", "create", "--role", "worker");
    assertThat(plain.out()).matches("secret-[0-9a-f-]{36}\n");
    assertThat(baton.coordinator.tokens.get(0).getRole()).isEqualTo("worker");
    assertThat(baton.coordinator.tokens.get(0).getTtlSeconds()).isZero();
    JsonNode json =
        baton.run("token", "create", "--role", "user", "--ttl", "30d", "-o", "json").json();
    assertThat(keys(json)).containsExactly("token", "id", "role", "expires_at", "join");
    assertThat(json.get("join").isNull()).as("join line of a user").isTrue();
    assertThat(json.get("expires_at").asText()).isEqualTo("2026-01-31T00:00:00.000Z");
    assertThat(baton.coordinator.tokens.get(1).getTtlSeconds()).isEqualTo(2_592_000);
    assertThat(
            baton
                .run("token", "create", "--role", "user", "-o", "json")
                .json()
                .get("expires_at")
                .isNull())
        .isTrue();
    for (String bad : List.of("30", "0s", "10ms")) {
      assertThat(baton.run("token", "create", "--role", "user", "--ttl", bad).code()).isEqualTo(2);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '^',
      quoteCharacter = '`',
      textBlock =
          """
          sumbit x ^ unknown verb sumbit; did you mean submit? (see baton --help)
          cordinator ^ unknown verb cordinator; did you mean coordinator? (see baton --help)
          dataset pull ^ unknown verb pull; did you mean push? (see baton dataset --help)
          dataset ^ a verb is missing; one of push, ls, show, rm (see baton dataset --help)
          token ^ a verb is missing; one of create (see baton token --help)
          wait j1 --timout 3s ^ unknown option --timout; did you mean --timeout? (see baton wait --help)
          wait j1 --timeout=3 ^ invalid value for option '--timeout': '3' is no duration; expected a number with its unit, as in 30s, 10m, 1h30m (see baton wait --help)
          show ^ missing required parameter: 'JOB' (see baton show --help)
          show a b ^ unexpected argument b (see baton show --help)
          jobs -o xml ^ invalid value for option '--output': expected one of [TABLE, JSON] (case-insensitive) but was 'xml' (see baton jobs --help)
          jobs --limit 0 ^ --limit 0: expected 1 to 1000 (see baton jobs --help)
          submit x --timeout 3s ^ --timeout without --wait: it limits how long --wait waits (see baton submit --help)
          token create ^ missing required option: '--role=admin|user|worker' (see baton token create --help)
          """)
  void wrongUsageEndsInOneLineAndTwo(String args, String expected) {
    assertThat(baton.run(args.split(" ")))
        .isEqualTo(new Outcome(2, "", "error: " + expected + "\n"));
  }

  @Test
  void noVerbAtAll() {
    Outcome outcome = baton.run();
    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err()).startsWith("error: a verb is missing; one of submit, jobs,");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "submit",
        "jobs",
        "show",
        "watch",
        "logs",
        "wait",
        "cancel",
        "pause",
        "resume",
        "metrics",
        "artifacts",
        "artifacts ls",
        "artifacts get",
        "dataset",
        "dataset push",
        "dataset ls",
        "dataset show",
        "dataset rm",
        "workers",
        "drain",
        "token",
        "token create"
      })
  void everyVerbHasHelp(String verb) {
    Outcome outcome = baton.run((verb + " --help").split(" "));
    assertThat(outcome.code()).isZero();
    assertThat(outcome.err()).isEmpty();
    assertThat(outcome.out()).startsWith("Usage: baton " + verb).contains("--coordinator");
    assertThat(baton.run("--help").out()).contains("\n  " + verb.replaceFirst(" .*", "") + " ");
  }

  @Test
  void version() {
    assertThat(baton.run("--version").out()).startsWith("baton ");
  }

  @Test
  void flagsWinOverEnvironmentOverFile() throws IOException {
    Path config = Files.createDirectories(dir.resolve(".config/baton"));
    Files.writeString(config.resolve("config.yaml"), "coordinator: 127.0.0.1:1\ntoken_file: tok\n");
    Files.writeString(config.resolve("tok"), "file-token\n");
    baton.environment.remove("BATON_TOKEN");
    baton.run("jobs");
    baton.environment.put("BATON_COORDINATOR", "127.0.0.1:2");
    baton.environment.put("BATON_TOKEN", "env-token");
    baton.run("jobs");
    baton.run("jobs", "--coordinator", "127.0.0.1:3", "--token", "flag-token");
    baton.run(
        "--coordinator", "127.0.0.1:4", "--token-file", config.resolve("tok").toString(), "jobs");
    Path xdg = Files.createDirectories(dir.resolve("xdg/baton"));
    Files.writeString(xdg.resolve("config.yaml"), "token: xdg-token");
    baton.environment.put("XDG_CONFIG_HOME", dir.resolve("xdg").toString());
    baton.environment.remove("BATON_TOKEN");
    baton.environment.remove("BATON_COORDINATOR");
    baton.run("jobs");
    assertThat(baton.connections)
        .containsExactly(
            "127.0.0.1:1 plain file-token",
            "127.0.0.1:2 plain env-token",
            "127.0.0.1:3 plain flag-token",
            "127.0.0.1:4 plain file-token",
            "127.0.0.1:7070 plain xdg-token");
  }

  @Test
  void aWholeTokenSaysWhereAndByWhichKey() {
    String key = "A".repeat(43);
    baton.environment.put("BATON_TOKEN", "env-token." + key + ".far.example:1");
    baton.run("jobs");
    baton.run("jobs", "--coordinator", "near.example:2");
    baton.run("jobs", "--token", "flag-token.ca.other.example:3");
    baton.run("jobs", "--token", "bare", "--coordinator", "far.example:4", "--insecure");
    assertThat(baton.connections)
        .containsExactly(
            "far.example:1 " + key + " env-token",
            "near.example:2 " + key + " env-token",
            "other.example:3 ca flag-token",
            "far.example:4 plain bare");
    Outcome bare = baton.run("jobs", "--token", "bare", "--coordinator", "far.example:4");
    assertThat(bare.code()).isEqualTo(2);
    assertThat(bare.err()).startsWith("error: the token names no key").hasLineCount(1);
    Outcome torn = baton.run("jobs", "--token", "bare." + key);
    assertThat(torn.code()).isEqualTo(2);
    assertThat(torn.err()).startsWith("error: the token is damaged").hasLineCount(1);
  }

  @Test
  void theLineToPasteIsOfTheTokensCoordinator() {
    String key = "A".repeat(42) + "E";
    baton.coordinator.origin = "." + key + ".far.example:7070";
    baton.coordinator.httpUrl = "https://far.example:7071";
    List<String> lines = baton.run("token", "create", "--role", "worker").out().lines().toList();
    String token = lines.get(lines.size() - 1);
    assertThat(token).startsWith("secret-").endsWith(baton.coordinator.origin);
    String pasted =
        "curl -fsSLk --pinnedpubkey sha256//"
            + "A".repeat(42)
            + "E= https://far.example:7071/join | sh -s -- "
            + token;
    assertThat(lines).contains(pasted);
    assertThat(
            baton
                .run("token", "create", "--role", "worker", "-o", "json")
                .json()
                .get("join")
                .asText())
        .isEqualTo(pasted);
    assertThat(baton.run("token", "create", "--role", "user").out())
        .as("a user's token alone")
        .hasLineCount(1);
    baton.coordinator.origin = ".ca.[fd00::1]:7070";
    baton.coordinator.httpUrl = "https://[fd00::1]:7071";
    assertThat(baton.run("token", "create", "--role", "worker").out())
        .contains("\ncurl -fsSL 'https://[fd00::1]:7071/join' | sh -s -- 'secret-");
  }

  @Test
  void badSettings() throws IOException {
    assertThat(baton.run("jobs", "--token", "a", "--token-file", "b").err())
        .isEqualTo("error: --token and --token-file exclude each other; give one\n");
    assertThat(baton.run("jobs", "--token-file", dir + "/none"))
        .isEqualTo(
            new Outcome(
                2,
                "",
                "error: cannot read the token file " + dir + "/none: no such file or folder\n"));
    Path binary = Files.write(dir.resolve("binary"), new byte[] {(byte) 0xff, 0, (byte) 0xfe});
    assertThat(baton.run("jobs", "--token-file", binary.toString()))
        .isEqualTo(
            new Outcome(2, "", "error: cannot read the token file " + binary + ": is not text\n"));
    assertThat(baton.run("jobs", "--coordinator", "nowhere").err())
        .startsWith("error: the coordinator's address 'nowhere': the port is missing");
    Path config = Files.createDirectories(dir.resolve(".config/baton")).resolve("config.yaml");
    Files.writeString(config, "cordinator: a:1\n");
    assertThat(baton.run("jobs"))
        .isEqualTo(
            new Outcome(
                2,
                "",
                "error: " + config + ":1: cordinator: unknown key; did you mean coordinator?\n"));
    Files.writeString(config, "");
    baton.environment.remove("BATON_TOKEN");
    Outcome outcome = baton.run("jobs");
    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err()).startsWith("error: no token: give --token-file FILE").hasLineCount(1);
  }

  @Test
  void refusals() {
    assertThat(baton.run("jobs", "--token", "bad"))
        .isEqualTo(
            new Outcome(
                1,
                "",
                "error: the coordinator at 127.0.0.1:7070 refused the token: unknown token\n"));
    baton.coordinator.failures.add(Status.PERMISSION_DENIED.withDescription("role worker"));
    assertThat(baton.run("jobs").err())
        .isEqualTo("error: the token's role does not allow this: role worker\n");
    baton.coordinator.failures.add(Status.INTERNAL);
    assertThat(baton.run("jobs")).isEqualTo(new Outcome(1, "", "error: INTERNAL\n"));
    baton.coordinator.failures.add(Status.DEADLINE_EXCEEDED);
    assertThat(baton.run("jobs").code()).isEqualTo(5);
    baton.coordinator.stop();
    assertThat(baton.run("jobs").code()).isEqualTo(5);
    assertThat(baton.run("wait", "j1").code()).isEqualTo(5);
    assertThat(baton.time.passed()).isZero();
  }

  @ParameterizedTest
  @ValueSource(strings = {"--help", "jobs", "jobs --help", "--version"})
  void whoeverHasReadEnoughIsNoErrorAndAFullDiskIs(String args) {
    baton.outFailure = "Broken pipe";
    assertThat(baton.run(args.split(" "))).isEqualTo(new Outcome(0, "", ""));
    baton.outFailure = "No space left on device";
    assertThat(baton.run(args.split(" ")))
        .isEqualTo(
            new Outcome(1, "", "error: writing to standard output: No space left on device\n"));
  }

  @Test
  void aBugOfOursIsOneLineAndATraceInAFile() throws IOException {
    baton.bug = new IllegalStateException("seven\nlines");
    Path log = dir.resolve(".local/state/baton/client.log");
    assertThat(baton.run("jobs"))
        .isEqualTo(
            new Outcome(
                1,
                "",
                "error: unexpected: java.lang.IllegalStateException: seven lines"
                    + " (a bug; its trace is in "
                    + log
                    + ")\n"));
    assertThat(log).content().contains("\tat dev.baton.client.");
    assertThat(baton.run("jobs", "--debug").err()).contains("\tat dev.baton.client.");
  }
}
