package dev.baton.coordinator;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.baton.coordinator.config.Encryption;
import dev.baton.coordinator.objectstore.EmbeddedS3;
import dev.baton.coordinator.store.SqliteDatabase;
import dev.baton.doctor.CoordinatorChecks;
import dev.baton.doctor.Diagnosis;
import dev.baton.doctor.HttpProbe;
import dev.baton.rpc.Access;
import dev.baton.rpc.Channels;
import dev.baton.rpc.HostPort;
import dev.baton.rpc.Pin;
import dev.baton.rpc.Proxies;
import dev.baton.rpc.TokenText;
import dev.baton.rpc.Version;
import dev.baton.v1.CoordinatorInfo;
import io.grpc.ManagedChannel;
import java.io.PrintWriter;
import java.io.RandomAccessFile;
import java.io.StringWriter;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Set-ups that are sound, and some that are not; and what callers find out about a coordinator. */
final class DoctorTest {
  @TempDir Path temp;

  private record Outcome(int code, String out) {
    /** Whatever is not ok, as STATUS CHECK. */
    List<String> findings() throws Exception {
      List<String> findings = new ArrayList<>();
      for (JsonNode finding : new ObjectMapper().readTree(out)) {
        if (!finding.get("status").asText().equals("ok")) {
          findings.add(finding.get("status").asText() + " " + finding.get("check").asText());
        }
      }
      return findings;
    }
  }

  private static Outcome doctor(Path dir, String... more) {
    List<String> args = new ArrayList<>(List.of("--data-dir", dir.toString(), "-o", "json"));
    for (String option : List.of("--listen", "--http", "--objects")) {
      if (!List.of(more).contains(option)) {
        args.addAll(List.of(option, "127.0.0.1:0"));
      }
    }
    args.addAll(List.of(more));
    StringWriter out = new StringWriter();
    int code =
        Main.commandLine(new Doctor())
            .setOut(new PrintWriter(out))
            .execute(args.toArray(String[]::new));
    return new Outcome(code, out.toString());
  }

  private Path data() throws Exception {
    Path data = temp.resolve("data");
    new Running(data, Encryption.ALWAYS).close();
    return data;
  }

  @Test
  void beforeTheFirstStartAndAfterIt() throws Exception {
    Outcome before = doctor(temp.resolve("new"));
    assertThat(before.findings()).isEmpty();
    assertThat(before.code()).isZero();
    assertThat(temp.resolve("new")).as("nothing is made").doesNotExist();
    Outcome after = doctor(data(), "--tls");
    assertThat(after.findings()).isEmpty();
    assertThat(after.out()).contains("0 jobs", "by its key");
  }

  @Test
  void aDamagedDatabase() throws Exception {
    Path database = data().resolve("coordinator.db");
    try (var file = new RandomAccessFile(database.toFile(), "rw")) {
      for (long at = 4096; at + 64 < file.length(); at += 4096) {
        file.seek(at);
        file.write(new byte[64]);
      }
    }
    Outcome outcome = doctor(temp.resolve("data"));
    assertThat(outcome.findings()).containsExactly("FAIL database");
    assertThat(outcome.code()).isEqualTo(1);
    assertThat(outcome.out()).contains("restore the folder from a backup");
    Files.writeString(database, "no database at all, but long enough to have a header".repeat(9));
    assertThat(doctor(temp.resolve("data")).findings()).containsExactly("FAIL database");
  }

  @Test
  void aPortThatSomebodyElseHas() throws Exception {
    try (ServerSocket other = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      Outcome outcome = doctor(temp.resolve("new"), "--http", "127.0.0.1:" + other.getLocalPort());
      assertThat(outcome.findings()).containsExactly("FAIL http");
      assertThat(outcome.out()).contains("ss -ltnp");
    }
  }

  @Test
  void aCoordinatorThatRuns() throws Exception {
    try (Running running = new Running(temp.resolve("data"))) {
      Outcome outcome =
          doctor(
              temp.resolve("data"),
              "--listen",
              running.address(),
              "--http",
              running.http().toString());
      assertThat(outcome.findings()).as(outcome.out()).containsExactly("warn objects");
      assertThat(outcome.out()).contains("is in use, while process", "with which it was started");
    }
  }

  @Test
  void aFileWhereTheFolderShouldBe() throws Exception {
    Path file = Files.writeString(temp.resolve("file"), "");
    assertThat(doctor(file).findings()).containsExactly("FAIL data-dir", "FAIL objects");
  }

  @Test
  void everythingInTheClearAndSecretsForAll() throws Exception {
    Path data = data();
    Files.setPosixFilePermissions(
        data.resolve("admin.token"), PosixFilePermissions.fromString("rw-r--r--"));
    Outcome outcome =
        doctor(
            data,
            "--listen",
            "0.0.0.0:0",
            "--insecure",
            "--advertise",
            "nowhere.invalid",
            "--releases",
            temp.toString());
    assertThat(outcome.findings())
        .containsExactly("warn secrets", "warn tls", "FAIL advertise", "warn releases");
    assertThat(doctor(data, "--listen", "0.0.0.0:0", "--advertise", "localhost").findings())
        .containsExactly("warn secrets", "warn advertise");
  }

  @Test
  void settingsThatMakeNoSense() throws Exception {
    assertThat(doctor(temp, "--listen", "7070").findings()).containsExactly("FAIL settings");
    Files.writeString(temp.resolve("c.yaml"), "objects: {endpoint: 'http://127.0.0.1:1'}");
    assertThat(doctor(temp, "--config", temp.resolve("c.yaml").toString()).findings())
        .containsExactly("FAIL settings");
    Files.writeString(
        temp.resolve("c.yaml"),
        "objects: {endpoint: 'http://127.0.0.1:1', bucket: baton, access_key: a, secret_key: b}");
    assertThat(doctor(temp, "--config", temp.resolve("c.yaml").toString()).findings())
        .containsExactly("FAIL objects");
  }

  @Test
  void aBucketThatIsAnotherDatabases() throws Exception {
    Path data = data();
    Path theirs = Files.createDirectory(temp.resolve("theirs"));
    HostPort any = new HostPort("127.0.0.1", 0);
    try (EmbeddedS3 store =
        EmbeddedS3.start(theirs, any, Optional.empty(), InstantSource.system())) {
      List<String> keys = Files.readAllLines(theirs.resolve("objects.key"));
      Path config =
          Files.writeString(
              temp.resolve("c.yaml"),
              "objects: {endpoint: 'http://127.0.0.1:%d', bucket: baton, access_key: %s, secret_key: %s}"
                  .formatted(store.port(), keys.get(0), keys.get(1)));
      assertThat(doctor(data, "--config", config.toString()).findings()).isEmpty();
      try (var database = SqliteDatabase.openForReading(data.resolve("coordinator.db"))) {
        store.claim(database.id());
      }
      assertThat(doctor(data, "--config", config.toString()).findings()).isEmpty();
      store.delete("baton/owner");
      store.claim("another");
      Outcome outcome = doctor(data, "--config", config.toString());
      assertThat(outcome.findings()).containsExactly("warn objects");
      assertThat(outcome.out()).contains("belongs to another coordinator's database, another");
    }
  }

  // What clients and workers check

  private static List<String> ask(Access access, Set<String> roles) throws Exception {
    Diagnosis diagnosis = new Diagnosis();
    var caller = new CoordinatorChecks.Caller(Version.OF_THIS, 1, roles);
    var checks = new CoordinatorChecks(diagnosis, access, caller, System::currentTimeMillis);
    assertThat(checks.way(Proxies.NONE)).isTrue();
    ManagedChannel channel = Channels.open(access, Proxies.NONE);
    try {
      Optional<CoordinatorInfo> info = checks.call(channel);
      if (info.isPresent()) {
        HttpProbe probe = HttpProbe.of(access, Proxies.NONE);
        checks.http(info.get(), probe);
        checks.objects(info.get(), probe);
      }
    } finally {
      channel.shutdownNow();
    }
    return diagnosis.findings().stream()
        .filter(finding -> finding.status() != Diagnosis.Status.OK)
        .map(finding -> finding.status().word() + " " + finding.check())
        .toList();
  }

  @Test
  void callersFindOutAboutTheirTokenAndTheWay() throws Exception {
    for (Encryption encryption : List.of(Encryption.ALWAYS, Encryption.WHERE_NEEDED)) {
      Path data = temp.resolve(encryption.name());
      try (Running running = new Running(data, encryption)) {
        TokenText token = TokenText.parse(Files.readString(data.resolve("admin.token")));
        Access good = Access.of(token, Optional.empty(), false);
        assertThat(ask(good, Set.of("user", "admin"))).isEmpty();
        assertThat(ask(good, Set.of("worker"))).containsExactly("FAIL token");
        HostPort at = good.address();
        Pin other = new Pin("A".repeat(43));
        assertThat(ask(new Access(at, good.pin(), "unknown"), Set.of("admin")))
            .containsExactly("FAIL token");
        assertThat(ask(new Access(at, other, token.secret()), Set.of("admin")))
            .containsExactly("FAIL tls");
        assertThat(ask(new Access(new HostPort("127.0.0.1", 1), good.pin(), "x"), Set.of("admin")))
            .containsExactly("FAIL grpc");
      }
    }
  }
}
