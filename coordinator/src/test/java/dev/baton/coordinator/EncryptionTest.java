package dev.baton.coordinator;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.coordinator.config.ConfigException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Which options make a coordinator speak TLS: one listener beyond loopback does, for all. */
final class EncryptionTest {
  private static final String[] OWN = {"--tls-cert", "own.pem", "--tls-key", "own.key"};

  @TempDir Path temp;

  private static Stream<Arguments> listeners() {
    List<String> hosts = List.of("127.0.0.1", "0.0.0.0", "[::]");
    return hosts.stream()
        .flatMap(
            grpc ->
                hosts.stream()
                    .flatMap(
                        http -> hosts.stream().map(objects -> Arguments.of(grpc, http, objects))));
  }

  private static boolean encrypted(String grpc, String http, String objects, String... more) {
    List<String> args =
        new ArrayList<>(
            List.of(
                "--data-dir=data",
                "--listen=" + grpc + ":7070",
                "--http=" + http + ":7071",
                "--objects=" + objects + ":7072"));
    args.addAll(List.of(more));
    var coordinator = new Main();
    Main.commandLine(coordinator).parseArgs(args.toArray(String[]::new));
    return coordinator.settings().encrypted();
  }

  @ParameterizedTest
  @MethodSource("listeners")
  void oneListenerBeyondLoopbackIsEnough(String grpc, String http, String objects) {
    boolean beyond = !Stream.of(grpc, http, objects).allMatch("127.0.0.1"::equals);
    assertThat(encrypted(grpc, http, objects)).isEqualTo(beyond);
    assertThat(encrypted(grpc, http, objects, "--tls")).isTrue();
    assertThat(encrypted(grpc, http, objects, OWN)).isTrue();
    assertThat(encrypted(grpc, http, objects, "--insecure")).isFalse();
    assertThatThrownBy(
            () ->
                encrypted(
                    grpc,
                    http,
                    objects,
                    Stream.concat(Stream.of("--insecure"), Stream.of(OWN)).toArray(String[]::new)))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("--insecure");
  }

  @ParameterizedTest
  @ValueSource(strings = {"localhost", "[::1]", "127.8.9.10"})
  void loopbackHasOtherNames(String host) {
    assertThat(encrypted(host, host, host)).isFalse();
  }

  @Test
  void defaultsAreOnLoopback() {
    var coordinator = new Main();
    Main.commandLine(coordinator).parseArgs("--data-dir=data");
    assertThat(coordinator.settings().encrypted()).isFalse();
  }

  @Test
  void theFileCountsToo() throws Exception {
    Path own = Files.writeString(temp.resolve("own.yaml"), "tls: {cert: a.pem, key: a.key}\n");
    assertThat(encrypted("127.0.0.1", "127.0.0.1", "127.0.0.1", "--config=" + own)).isTrue();

    // A store elsewhere: the embedded one does not listen, wherever it would.
    Path elsewhere =
        Files.writeString(
            temp.resolve("elsewhere.yaml"),
            "objects: {endpoint: https://s3.example, bucket: b, access_key: a, secret_key: s}\n");
    String config = "--config=" + elsewhere;
    assertThat(encrypted("127.0.0.1", "127.0.0.1", "0.0.0.0", config)).isFalse();
    assertThat(encrypted("0.0.0.0", "127.0.0.1", "127.0.0.1", config)).isTrue();
  }
}
