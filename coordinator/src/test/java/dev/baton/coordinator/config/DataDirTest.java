package dev.baton.coordinator.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class DataDirTest {
  @TempDir Path temp;

  @Test
  void isForOneAtATime() throws Exception {
    Path path = temp.resolve("a/b");
    try (DataDir first = DataDir.open(path)) {
      assertThat(first.resolve("x")).isEqualTo(path.resolve("x"));
      assertThatThrownBy(() -> DataDir.open(path))
          .isInstanceOf(ConfigException.class)
          .hasMessageContaining("another coordinator works on it (process ");
    }
    DataDir.open(path).close();
  }

  @Test
  void refusesAFile() throws Exception {
    Path file = Files.writeString(temp.resolve("file"), "");
    assertThatThrownBy(() -> DataDir.open(file))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("is a file, not a folder");
  }

  @Test
  void keepsASecretFromOthers() throws Exception {
    try (DataDir dir = DataDir.open(temp)) {
      Files.writeString(temp.resolve("admin.token.new"), "left by a crash");
      dir.writeSecret("admin.token", "one\n");
      dir.writeSecret("admin.token", "two\n");
    }
    Path file = temp.resolve("admin.token");
    assertThat(file).hasContent("two\n");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
        .isEqualTo("rw-------");
    assertThat(temp.resolve("admin.token.new")).doesNotExist();
  }
}
