package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.JobJson;
import dev.baton.client.output.ProgressLine;
import dev.baton.client.output.Units;
import dev.baton.v1.JobEvent;
import dev.baton.v1.JobRequest;
import dev.baton.v1.JobState;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/** Follows a job until its end. */
@Command(
    name = "watch",
    description =
        "Follow a job until it has ended; the exit code says how: 0 succeeded, 1 failed, 3 cancelled.",
    footer = {
      "",
      "With -o json: one line for each event, {time, state, step, loss, workers, event}; time in"
          + " milliseconds since the epoch; step only where event is step, after that step has run."
    })
final class Watch extends Verb {
  @Mixin private OutputFormat output = new OutputFormat();

  @Parameters(paramLabel = "JOB", description = "The job's id.")
  private String id = "";

  private @Nullable JobEvent last;
  private long lastStep = -1;
  private boolean reopened;

  Watch(Baton baton) {
    super(baton);
  }

  @Override
  int run(Connection connection) throws InterruptedException {
    try (ProgressLine line = new ProgressLine(terminal(), time()::nanos)) {
      connection.follow(
          () -> {
            reopened = last != null;
            return connection.jobs().watchJob(JobRequest.newBuilder().setJobId(id).build());
          },
          event -> see(event, line),
          () -> last != null && ExitCodes.hasEnded(last.getState()));
    }
    return ExitCodes.of(last == null ? JobState.JOB_STATE_UNSPECIFIED : last.getState());
  }

  private void see(JobEvent event, ProgressLine line) {
    if (reopened && isKnown(event)) {
      return;
    }
    if (event.hasStep() && event.getEvent().equals("step")) {
      reopened = false;
      lastStep = event.getStep();
    }
    last = event;
    if (output.json()) {
      terminal().println(JobJson.of(event).toString());
    } else {
      print(event, line);
    }
  }

  // A stream that is opened again begins with what the last one told.
  private boolean isKnown(JobEvent event) {
    JobEvent before = last;
    return switch (event.getEvent()) {
      case "state" ->
          before != null
              && before.getState() == event.getState()
              && before.getWorkersList().equals(event.getWorkersList());
      case "step" -> event.getStep() == lastStep;
      default -> false;
    };
  }

  private void print(JobEvent event, ProgressLine line) {
    if (event.getEvent().equals("step")) {
      if (terminal().screen().out()) {
        line.show(ProgressText.of(event.getProgress()) + on(event.getWorkersList()));
      }
      return;
    }
    line.clear();
    terminal()
        .say(
            Units.time(event.getTimeMs())
                + "  "
                + (event.getEvent().equals("state")
                    ? JobJson.state(event.getState())
                    : event.getEvent().replace('_', ' '))
                + on(event.getWorkersList())
                + (event.getMessage().isEmpty() ? "" : ": " + event.getMessage()));
  }

  private static String on(List<String> workers) {
    return workers.isEmpty() ? "" : "  on " + String.join(",", workers);
  }
}
