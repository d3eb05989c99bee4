package dev.baton.worker.leaving;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OnExitTest {
  @TempDir Path dir;

  @Test
  void theCommandKnowsTheReasonAndItsOutputIsKept() throws Exception {
    Path log = dir.resolve("log");
    OnExit.run("echo \"ends: $BATON_EXIT_REASON\"; echo oh >&2; exit 3", ExitReason.IDLE, log);
    assertThat(log).hasContent("ends: idle\noh");
  }

  @Test
  void aBrokenCommandHarmsNobody() throws Exception {
    OnExit.run("no-such-command-here", ExitReason.SPOT, dir.resolve("log"));
    OnExit.run("true", ExitReason.SPOT, dir.resolve("no/such/folder"));
    assertThat(dir.resolve("log")).content().contains("no-such-command-here");
  }
}
