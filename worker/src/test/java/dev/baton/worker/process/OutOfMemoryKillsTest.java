package dev.baton.worker.process;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OutOfMemoryKillsTest {
  @TempDir Path dir;

  @Test
  void version2() throws IOException {
    write("self", "0::/a/b\n");
    write("cgroup/a/b/memory.events", "low 0\noom 3\noom_kill 2\n");
    assertThat(count()).isEqualTo(2);
  }

  @Test
  void version1() throws IOException {
    write("self", "5:devices:/\n4:memory,x:/job\n0::/\n");
    write("cgroup/memory/job/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n");
    assertThat(count()).isEqualTo(7);
  }

  @Test
  void insideAContainerTheOwnGroupIsTheRoot() throws IOException {
    write("self", "0::/docker/abc\n");
    write("cgroup/memory.events", "oom_kill 1\n");
    assertThat(count()).isEqualTo(1);
  }

  @Test
  void noRecord() throws IOException {
    assertThat(count()).isZero();
    write("self", "0::/\n");
    assertThat(count()).isZero();
  }

  private long count() {
    return new OutOfMemoryKills(dir.resolve("cgroup"), dir.resolve("self")).count();
  }

  private void write(String path, String text) throws IOException {
    Path file = dir.resolve(path);
    Files.createDirectories(file.getParent());
    Files.writeString(file, text);
  }
}
