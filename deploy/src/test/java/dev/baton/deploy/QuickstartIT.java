package dev.baton.deploy;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The README's first command, as a new user runs it where there is no network. */
class QuickstartIT {
  @Test
  void endsWithItsLine(@TempDir Path dir) throws Exception {
    Path log = dir.resolve("err");
    Process process =
        new ProcessBuilder(
                LocalCluster.root().resolve("deploy/quickstart").toString(), "--no-download")
            .redirectError(log.toFile())
            .start();
    List<String> out =
        new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
            .lines()
            .toList();
    assertThat(process.waitFor()).as("%s", log).isZero();
    JsonNode line = LocalCluster.JSON.readTree(out.get(out.size() - 1));
    assertThat(line.get("state").asText()).isEqualTo("SUCCEEDED");
    assertThat(line.get("attempts").asInt()).isGreaterThanOrEqualTo(2);
    assertThat(line.get("resumed_from_step").asLong()).isPositive();
    assertThat(line.get("accuracy").asDouble()).isGreaterThan(0.8);
  }
}
