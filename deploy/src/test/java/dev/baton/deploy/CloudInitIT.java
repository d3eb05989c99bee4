package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * The VMs that deploy/cloud-init describes, both on one machine with systemd and nothing of Baton.
 */
class CloudInitIT {
  private static final Path DIR = LocalCluster.root().resolve("deploy/target/cloud-init-it");
  private static final Duration LIMIT = Duration.ofMinutes(4);

  private SystemdMachine machine;

  @BeforeEach
  void boot() throws Exception {
    assumeTrue(SystemdMachine.possible(), "no root, no systemd or no namespaces to boot one in");
    Path archives = ReleaseArchives.build();
    delete();
    machine = new SystemdMachine(DIR);
    assumeTrue(
        machine.run("/usr/bin/python3 -c 'import yaml'").exit() == 0,
        "no python3-yaml; deploy/install-test-tools brings it");
    // As deploy/release --with-releases makes it, but not compressed.
    machine
        .run(
            """
            mkdir unpacked
            tar -xf %1$s/baton-coordinator-*.tar.gz -C unpacked
            releases=$(echo unpacked/baton-coordinator-*)/releases
            mkdir "$releases"
            cp %1$s/baton-worker-*.tar.gz %1$s/SHA256SUMS "$releases"
            tar -cf coordinator.tar -C unpacked $(ls unpacked)
            rm -r unpacked
            """
                .formatted(archives.toRealPath()))
        .orFail();
  }

  @AfterEach
  void stop() throws Exception {
    if (machine != null) {
      machine.close();
    }
    delete();
  }

  private static void delete() throws IOException, InterruptedException {
    new ProcessBuilder("rm", "-rf", DIR.toString()).inheritIO().start().waitFor();
  }

  /** What cloud-init would do with a file that has been filled in. */
  private void apply(String file, String... replaced)
      throws IOException, InterruptedException, URISyntaxException {
    String text = Files.readString(LocalCluster.root().resolve("deploy/cloud-init").resolve(file));
    for (int i = 0; i < replaced.length; i += 2) {
      assertThat(text).contains(replaced[i]);
      text = text.replace(replaced[i], replaced[i + 1]);
    }
    Files.writeString(machine.srv().resolve(file), text);
    Path script = Path.of(CloudInitIT.class.getResource("apply_cloud_config.py").toURI());
    machine.run("/usr/bin/python3 " + script + " " + file).orFail();
  }

  @Test
  void aServerServesAndAWorkersMachineGoesOffWithoutWork() throws Exception {
    String sum = machine.run("sha256sum coordinator.tar | cut -d ' ' -f 1").orFail();
    apply(
        "coordinator.yaml",
        "https://example.org/baton-coordinator-linux-x86_64.tar.gz",
        "file:///srv/coordinator.tar",
        "0".repeat(64),
        sum);
    String admin = "export BATON_TOKEN=$(cat /var/lib/baton/admin.token)\n";
    String join = machine.run(admin + "baton token create --role worker | grep ^curl").orFail();
    assertThat(join).contains("https://train.example.org:7071/join");

    apply(
        "worker.yaml",
        "curl PASTE-THE-LINE-HERE | sh -s -- TOKEN",
        join,
        "--idle-exit 30m",
        "--idle-exit 8s");
    long end = System.nanoTime() + LIMIT.toNanos();
    while (machine.isOn()) {
      assertThat(System.nanoTime()).as("the machine is still on").isLessThan(end);
      Thread.sleep(200);
    }
    assertThat(Files.readString(machine.written("/var/lib/private/baton-worker/worker.log")))
        .contains("session 1 with the coordinator");
    assertThat(Files.getPosixFilePermissions(machine.written("/etc/baton/join")))
        .isEqualTo(PosixFilePermissions.fromString("rw-------"));
  }
}
