package dev.baton.client.command;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import dev.baton.client.testing.FakeCoordinator;
import dev.baton.client.testing.Harness;
import dev.baton.client.testing.Harness.Outcome;
import dev.baton.client.testing.ManualTime;
import dev.baton.doctor.HttpProbe;
import dev.baton.rpc.Version;
import dev.baton.v1.CoordinatorInfo;
import dev.baton.v1.PresignedRequest;
import dev.baton.v1.WorkerInfo;
import io.grpc.Status;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DoctorTest {
  private static final String PROBE = "http://store:7072/baton/probe/none?X-Amz-Signature=1";

  @TempDir Path dir;
  private Harness baton;

  @BeforeEach
  void start() {
    baton = new Harness(dir);
    baton.coordinator.info =
        CoordinatorInfo.newBuilder()
            .setVersion(Version.OF_THIS)
            .setProtocol(1)
            .setTimeMs(ManualTime.START_MILLIS)
            .setTokenId("12345678")
            .setRole("user")
            .setHttpUrl("http://127.0.0.1:7071")
            .setProbe(PresignedRequest.newBuilder().setUrl(PROBE))
            .build();
    baton.coordinator.workers.add(WorkerInfo.newBuilder().setState("ACTIVE").build());
    baton.urls.put("http://127.0.0.1:7071/healthz", new HttpProbe.Answer(200, "ok\n"));
    baton.urls.put(PROBE, new HttpProbe.Answer(404, "<Code>NoSuchKey</Code>"));
  }

  @AfterEach
  void stop() {
    baton.close();
  }

  private void info(Consumer<CoordinatorInfo.Builder> change) {
    CoordinatorInfo.Builder info = baton.coordinator.info.toBuilder();
    change.accept(info);
    baton.coordinator.info = info.build();
  }

  /** Whatever is not ok, as STATUS CHECK; each must say something. */
  private List<String> findings(int code) {
    Outcome outcome = baton.run("doctor", "-o", "json");
    assertThat(outcome.code()).as(outcome.out() + outcome.err()).isEqualTo(code);
    List<String> findings = new ArrayList<>();
    for (JsonNode finding : outcome.json()) {
      assertThat(finding.get("message").asText()).isNotBlank().doesNotContain("\n");
      if (!finding.get("status").asText().equals("ok")) {
        findings.add(finding.get("status").asText() + " " + finding.get("check").asText());
      }
    }
    return findings;
  }

  @Test
  void aGoodSetUp() {
    Outcome outcome = baton.run("doctor");
    assertThat(outcome.out())
        .isEqualTo(
            """
            ok    settings: the coordinator is 127.0.0.1:7070, by flags, environment and %s (which is not there)
            ok    address: 127.0.0.1:7070 is 127.0.0.1
            ok    grpc: 127.0.0.1:7070 answers
            ok    tls: not encrypted, on this machine alone
            ok    token: token 12345678 has role user and never expires
            ok    clock: this machine's clock is 0.0 s ahead of the coordinator's
            ok    version: both are %s
            ok    http: http://127.0.0.1:7071 answers
            ok    objects: http://store:7072 answers, and takes the coordinator's signature
            ok    workers: 1 take jobs
            """
                .formatted(dir.resolve(".config/baton/config.yaml"), Version.OF_THIS));
    assertThat(outcome.code()).isZero();
    assertThat(outcome.err()).isEmpty();
  }

  @Test
  void noToken() {
    baton.environment.remove("BATON_TOKEN");
    assertThat(findings(1)).containsExactly("FAIL settings");
  }

  @Test
  void aTokenThatNobodyKnows() {
    baton.environment.put("BATON_TOKEN", "somebody-elses");
    assertThat(findings(1)).containsExactly("FAIL token");
  }

  @Test
  void aWorkersToken() {
    info(info -> info.setRole("worker"));
    assertThat(findings(1)).containsExactly("FAIL token");
    assertThat(baton.run("doctor").out()).contains("'baton token create --role user'");
  }

  @Test
  void aTokenThatExpiresTomorrow() {
    info(info -> info.setTokenExpiresAtMs(ManualTime.START_MILLIS + 86_400_000));
    assertThat(findings(0)).containsExactly("warn token");
  }

  @Test
  void aHostThatNobodyKnows() {
    baton.environment.put("BATON_TOKEN", FakeCoordinator.TOKEN + ".ca.nowhere.invalid:7070");
    assertThat(findings(1)).containsExactly("FAIL address");
  }

  @Test
  void aProxyThatIsNone() {
    baton.environment.put("BATON_TOKEN", FakeCoordinator.TOKEN + ".ca.nowhere.invalid:7070");
    baton.environment.put("HTTPS_PROXY", "socks5://x");
    assertThat(findings(1)).containsExactly("FAIL proxy");
    baton.environment.put("HTTPS_PROXY", "http://proxy:3128");
    assertThat(findings(0)).as("whose proxy resolves it").isEmpty();
  }

  @Test
  void aCoordinatorThatIsAway() {
    baton.coordinator.stop();
    assertThat(findings(1)).containsExactly("FAIL grpc");
    assertThat(baton.run("doctor").out()).contains("TCP port 7070");
  }

  @Test
  void anOlderCoordinator() {
    baton.coordinator.failures.add(Status.UNIMPLEMENTED);
    assertThat(findings(0)).containsExactly("warn version");
    info(info -> info.setVersion("0.0.1"));
    assertThat(findings(0)).containsExactly("warn version");
  }

  @Test
  void clocksThatDiffer() {
    info(info -> info.setTimeMs(ManualTime.START_MILLIS - 60_000));
    assertThat(findings(0)).containsExactly("warn clock");
    info(info -> info.setTimeMs(ManualTime.START_MILLIS + 3_600_000));
    assertThat(findings(1)).containsExactly("FAIL clock");
    assertThat(baton.run("doctor").out()).contains("3600.0 s behind");
  }

  @Test
  void noHttpAndNoObjects() {
    info(info -> info.setHttpUrl(""));
    assertThat(findings(0)).containsExactly("warn http");
    baton.urls.clear();
    assertThat(findings(1)).containsExactly("warn http", "FAIL objects");
    baton.urls.put(PROBE, new HttpProbe.Answer(403, "<Message>The request's\nsignature</Message>"));
    assertThat(findings(1)).containsExactly("warn http", "FAIL objects");
    assertThat(baton.run("doctor").out()).contains("answers 403 The request's signature;");
    baton.urls.put(PROBE, new HttpProbe.Answer(403, "<Code>AccessDenied</Code>"));
    assertThat(findings(0)).containsExactly("warn http");
  }

  @Test
  void noWorkersAndAFileThatOthersCanRead() throws Exception {
    baton.coordinator.workers.clear();
    Path file = dir.resolve(".config/baton/config.yaml");
    Files.createDirectories(file.getParent());
    Files.writeString(file, "token: " + FakeCoordinator.TOKEN + "\n");
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r--r--"));
    assertThat(findings(0)).containsExactly("warn secrets", "warn workers");
  }
}
