package dev.baton.worker.leaving;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The command that is run when a worker has ended in good order. */
public final class OnExit {
  private static final Logger log = LoggerFactory.getLogger(OnExit.class);

  /** Names, in the command's environment, the {@link ExitReason#word}. */
  private static final String REASON = "BATON_EXIT_REASON";

  private static final Duration LIMIT = Duration.ofMinutes(1);

  private OnExit() {}

  /**
   * Runs a command by {@code sh -c}; returns at its end, or after a minute, when it goes on by
   * itself.
   *
   * @param output what it prints is appended to this file
   */
  public static void run(String command, ExitReason reason, Path output)
      throws InterruptedException {
    log.info("--on-exit ({}): {}", reason.word(), command);
    ProcessBuilder builder =
        new ProcessBuilder("sh", "-c", command)
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(output.toFile()));
    builder.environment().put(REASON, reason.word());
    try {
      Process process = builder.start();
      process.getOutputStream().close();
      if (!process.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS)) {
        log.warn("--on-exit: still running after {} s", LIMIT.toSeconds());
      } else if (process.exitValue() != 0) {
        log.warn("--on-exit: exit code {}", process.exitValue());
      }
    } catch (IOException e) {
      log.error("--on-exit: {}", e.getMessage());
    }
  }
}
