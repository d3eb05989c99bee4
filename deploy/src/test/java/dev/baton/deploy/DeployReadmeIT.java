package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * The steps of deploy/README.md, run as they stand there on a machine with systemd and nothing of
 * Baton: a server, the worker on it as a pasted line and as a service, a backup, a newer release.
 */
class DeployReadmeIT {
  private static final Path DIR = LocalCluster.root().resolve("deploy/target/readme-it");
  private static final Duration LIMIT = Duration.ofMinutes(2);

  /** The worker's client is called by its path, as whoever follows the steps does. */
  private static final String CLIENT = "~/baton/bin/baton ";

  private DeployReadme readme;
  private SystemdMachine machine;

  @BeforeEach
  void boot() throws Exception {
    assumeTrue(SystemdMachine.possible(), "no root, no systemd or no namespaces to boot one in");
    Path archives = ReleaseArchives.build();
    delete();
    readme = DeployReadme.read("README.md");
    machine = new SystemdMachine(DIR);
    // What step 2 copies.
    for (Path folder : List.of(archives, LocalCluster.root().resolve("deploy/systemd"))) {
      try (Stream<Path> files = Files.list(folder)) {
        for (Path file : files.toList()) {
          Files.copy(file, machine.srv().resolve(file.getFileName()));
        }
      }
    }
    machine.run("printf '#!/bin/sh\\nexec \"$@\"\\n' >/usr/local/bin/sudo").orFail();
    machine.run("chmod +x /usr/local/bin/sudo").orFail();
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

  private String step(String name) throws IOException, InterruptedException {
    return machine.run(readme.tested(name)).orFail();
  }

  private String step(String name, String word, String value)
      throws IOException, InterruptedException {
    String text = readme.tested(name);
    assertThat(text).contains(word);
    return machine.run(text.replace(word, value)).orFail();
  }

  private JsonNode show(String job) throws IOException, InterruptedException {
    return LocalCluster.JSON.readTree(machine.run(CLIENT + "show " + job + " -o json").orFail());
  }

  /** Waits until this attempt of the job makes steps. */
  private void awaitAttempt(String job, int number) throws IOException, InterruptedException {
    long end = System.nanoTime() + LIMIT.toNanos();
    JsonNode shown = show(job);
    while (shown.at("/attempts/" + (number - 1) + "/last_step").asLong() == 0) {
      assertThat(System.nanoTime()).as("%s", shown).isLessThan(end);
      Thread.sleep(500);
      shown = show(job);
    }
    for (int i = 0; i < number - 1; i++) {
      assertThat(shown.at("/attempts/" + i + "/end_reason").asText())
          .as("%s", shown)
          .isEqualTo("handed over");
    }
  }

  @Test
  void theStepsMakeAServerAndAWorker() throws Exception {
    step("coordinator");
    List<String> printed = step("tokens").lines().toList();
    String join =
        printed.stream().filter(line -> line.startsWith("curl ")).findFirst().orElseThrow();
    assertThat(join).contains("https://train.example.org:7071/join");
    String user =
        printed.stream().filter(line -> line.startsWith("baton_")).findFirst().orElseThrow();
    step("client", "TOKEN", user);

    assertThat(step("join", "JOIN LINE", join)).contains("ready: worker ");
    Files.writeString(machine.srv().resolve("job.yaml"), JoinLine.JOB);
    String job = machine.run(CLIENT + "submit job.yaml").orFail();
    awaitAttempt(job, 1);
    machine.run("kill $(cat ~/baton-worker/worker.pid)").orFail();

    step("service", "JOIN LINE", join);
    awaitAttempt(job, 2);
    assertThat(step("look")).contains("active (running)", "job " + job);
    step("pause");
    awaitAttempt(job, 3);
    assertThat(machine.run("systemd-analyze verify baton-{coordinator,worker}.service").out())
        .isEmpty();
    for (String unit : List.of("baton-coordinator", "baton-worker")) {
      String all = machine.run("systemd-analyze security --no-pager " + unit).orFail();
      String exposure = all.substring(all.lastIndexOf('\n') + 1);
      System.out.println(exposure);
      // Of ten; what systemd calls OK ends at 5.
      assertThat(Double.parseDouble(exposure.replaceAll(".*: ([0-9.]+) .*", "$1")))
          .as(all)
          .isLessThan(3);
    }

    step("backup");
    assertThat(machine.run("tar -tzf baton-backup.tar.gz").orFail())
        .contains("baton/admin.token", "baton/objects/");
    // Once more, as for a newer release: the same attempt goes on.
    step("coordinator");
    long before = show(job).at("/progress/step").asLong();
    long end = System.nanoTime() + LIMIT.toNanos();
    while (show(job).at("/progress/step").asLong() <= before) {
      assertThat(System.nanoTime()).isLessThan(end);
      Thread.sleep(500);
    }
    assertThat(show(job).get("attempts")).hasSize(3);

    step("remove");
    assertThat(show(job).get("state").asText()).isEqualTo("QUEUED");
    assertThat(machine.run("ls /var/lib /var/lib/private /etc/baton").orFail())
        .doesNotContain("worker", "join");
  }
}
