package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.JobJson;
import dev.baton.client.output.JsonObject;
import dev.baton.client.output.Units;
import dev.baton.v1.Event;
import dev.baton.v1.GetJobRequest;
import dev.baton.v1.WatchEventsRequest;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Prints what happened to jobs and workers. */
@Command(
    name = "events",
    description =
        "Print what happened to jobs and workers: the last 1,000 events since the coordinator's"
            + " start.",
    footer = {
      "",
      "With -o json: one line for each event, {time, job, event, state, message, workers, step}; time"
          + " in milliseconds since the epoch; job and state are null for what happens to a worker;"
          + " step is the last that the job had reported, or null."
    })
final class Events extends Verb {
  @Mixin private OutputFormat output = new OutputFormat();

  @Option(
      names = {"-f", "--follow"},
      description = "And what comes, until Ctrl-C; with --job until the job has ended.")
  private boolean follow;

  @Option(names = "--job", paramLabel = "JOB", description = "Of this job alone.")
  private String job = "";

  // Of the last event that was printed.
  private String after = "";

  Events(Baton baton) {
    super(baton);
  }

  @Override
  int run(Connection connection) throws InterruptedException {
    if (!job.isEmpty()) {
      // From here on the coordinator is known, and waited for.
      var unused =
          connection.repeat(
              () -> connection.jobs().getJob(GetJobRequest.newBuilder().setJobId(job).build()));
    }
    connection.readToEnd(
        () ->
            connection
                .jobs()
                .watchEvents(
                    WatchEventsRequest.newBuilder()
                        .setJobId(job)
                        .setFollow(follow)
                        .setAfter(after)
                        .build()),
        this::print);
    return ExitCodes.DONE;
  }

  private void print(Event event) {
    after = event.getId();
    if (output.json()) {
      terminal().println(json(event).toString());
    } else {
      terminal().say(line(event));
    }
  }

  private static JsonObject json(Event event) {
    boolean ofJob = !event.getJobId().isEmpty();
    return new JsonObject()
        .put("time", event.getTimeMs())
        .put("job", ofJob ? event.getJobId() : null)
        .put("event", event.getEvent())
        .put("state", ofJob ? JobJson.state(event.getState()) : null)
        .put("message", event.getMessage())
        .put("workers", event.getWorkersList())
        .put("step", event.hasStep() ? (Long) event.getStep() : null);
  }

  private static String line(Event event) {
    StringBuilder line = new StringBuilder(Units.time(event.getTimeMs())).append("  ");
    if (!event.getJobId().isEmpty()) {
      line.append(event.getJobId()).append("  ");
    }
    line.append(
        event.getEvent().equals("state")
            ? JobJson.state(event.getState())
            : event.getEvent().replace('_', ' '));
    if (event.getWorkersCount() > 0) {
      line.append(event.getJobId().isEmpty() ? " " : "  on ")
          .append(String.join(",", event.getWorkersList()));
    }
    if (event.hasStep()) {
      line.append("  step ").append(event.getStep());
    }
    return event.getMessage().isEmpty()
        ? line.toString()
        : line.append(": ").append(event.getMessage()).toString();
  }
}
