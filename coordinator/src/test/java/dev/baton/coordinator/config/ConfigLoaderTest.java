package dev.baton.coordinator.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.coordinator.core.LeasePolicy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class ConfigLoaderTest {
  @TempDir Path dir;

  private FileConfig load(String yaml) throws Exception {
    Path file = Files.writeString(dir.resolve("baton.yaml"), yaml);
    return new ConfigLoader(Map.of("SECRET", "s$1", "USER_KEY", "u")::get).load(file);
  }

  @Test
  void anEmptyFileChangesNothing() throws Exception {
    assertThat(load("")).isEqualTo(FileConfig.DEFAULT);
    assertThat(load("# nothing\n")).isEqualTo(FileConfig.DEFAULT);
  }

  @Test
  void readsEveryKey() throws Exception {
    FileConfig config =
        load(
            """
            objects:
              endpoint: https://s3.example.org
              bucket: baton-objects
              region: eu-west-3
              access_key: ${USER_KEY}
              secret_key: x${SECRET}
            lease: {heartbeat: 500ms, lease: 1m30s, grace: 1s}
            tls: {cert: own.pem, key: /etc/own.key}
            """);
    assertThat(config.tls())
        .contains(new CertificateFiles(dir.resolve("own.pem"), Path.of("/etc/own.key")));
    assertThat(config.objects())
        .contains(
            new ForeignStore("https://s3.example.org", "baton-objects", "eu-west-3", "u", "xs$1"));
    assertThat(config.lease())
        .isEqualTo(
            new LeasePolicy(Duration.ofMillis(500), Duration.ofSeconds(90), Duration.ofSeconds(1)));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          objetcs: {endpoint: x}                        | objetcs: no such key; did you mean 'objects'?
          zzz: 1                                        | zzz: no such key; there are lease, objects
          objects: {bucket: abc}                        | objects.endpoint: is missing
          objects: {endpoint: http://x, bucket: abc, access_key: '${NOPE}', secret_key: b} | objects.access_key: the environment variable NOPE is not set
          objects: {endpoint: [1]}                      | objects.endpoint: must be a single value
          objects: 3                                    | objects: must hold keys and values
          lease: {lease: 5s}                            | it must last at least four heartbeats
          lease: {lease: five}                          | lease.lease: 'five' is not a duration such as 500ms, 3s or 2m
          lease: {lease: 15}                            | lease.lease: '15' is not a duration such as 500ms, 3s or 2m
          lease: {heartbeats: 3s}                       | lease.heartbeats: no such key; did you mean 'heartbeat'?
          'objects: ]'                                  | not YAML
          [1, 2]                                        | the file: must hold keys and values
          """)
  void refusesWithTheKeysName(String yaml, String message) {
    assertThatThrownBy(() -> load(yaml))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining(message)
        .hasMessageContaining("baton.yaml")
        .message()
        .doesNotContain("\n");
  }

  @Test
  void saysThatAFileIsMissing() {
    assertThatThrownBy(() -> new ConfigLoader(name -> null).load(dir.resolve("none.yaml")))
        .isInstanceOf(ConfigException.class)
        .hasMessageEndingWith("none.yaml: cannot be read: no such file");
  }

  @Test
  void theSecretIsNotPrinted() throws Exception {
    FileConfig config =
        load("objects: {endpoint: http://x, bucket: abc, access_key: a, secret_key: hidden}");
    assertThat(config.toString()).doesNotContain("hidden");
  }
}
