package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import java.time.Duration;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Waits for a job's end. */
@Command(
    name = "wait",
    description =
        "Wait until a job has ended; the exit code says how: 0 succeeded, 1 failed, 3 cancelled, 4 timed out.")
final class Wait extends Verb {
  @Option(
      names = "--timeout",
      paramLabel = "DURATION",
      converter = Durations.class,
      description = "Wait so long at most, as in 90s, 10m, 2h.")
  private @Nullable Duration timeout;

  @Parameters(paramLabel = "JOB", description = "The job's id.")
  private String id = "";

  Wait(Baton baton) {
    super(baton);
  }

  @Override
  int run(Connection connection) throws InterruptedException {
    new JobEnd().await(connection, id, timeout, time());
    terminal().println("SUCCEEDED");
    return ExitCodes.DONE;
  }
}
