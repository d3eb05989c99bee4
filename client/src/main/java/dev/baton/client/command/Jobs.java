package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.JobJson;
import dev.baton.client.output.Json;
import dev.baton.client.output.Table;
import dev.baton.client.output.Units;
import dev.baton.v1.Job;
import dev.baton.v1.JobState;
import dev.baton.v1.ListJobsRequest;
import dev.baton.v1.Progress;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** Lists jobs. */
@Command(
    name = "jobs",
    description = "List jobs, newest first.",
    footer = {
      "",
      "With -o json: a list of jobs as 'baton show' prints them, each with its last attempt and"
          + " its last checkpoint only."
    })
final class Jobs extends Verb {
  enum State {
    QUEUED,
    RUNNING,
    PAUSED,
    SUCCEEDED,
    FAILED,
    CANCELLED;

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }

    JobState inContract() {
      return JobState.valueOf("JOB_STATE_" + name());
    }
  }

  @Mixin private OutputFormat output = new OutputFormat();

  @Option(
      names = "--state",
      split = ",",
      paramLabel = "STATE",
      description =
          "Only jobs in these states: queued, running, paused, succeeded, failed, cancelled.")
  private List<State> states = List.of();

  @Option(
      names = "--limit",
      paramLabel = "N",
      description = "At most so many (default: 100, at most 1000).")
  private int limit = 100;

  @Spec
  private picocli.CommandLine.Model.CommandSpec spec =
      picocli.CommandLine.Model.CommandSpec.create();

  Jobs(Baton baton) {
    super(baton);
  }

  @Override
  int run(Connection connection) {
    if (limit < 1 || limit > 1000) {
      throw new ParameterException(spec.commandLine(), "--limit " + limit + ": expected 1 to 1000");
    }
    List<Job> jobs =
        connection
            .jobs()
            .listJobs(
                ListJobsRequest.newBuilder()
                    .setLimit(limit)
                    .addAllStates(states.stream().map(State::inContract).toList())
                    .build())
            .getJobsList();
    if (output.json()) {
      terminal().println(Json.write(jobs.stream().map(JobJson::of).toList()));
      return ExitCodes.DONE;
    }
    Table table = new Table("ID", "NAME", "STATE", "STEP", "EPOCH", "LOSS", "WORKERS", "AGE");
    for (Job job : jobs) {
      Progress progress = job.getProgress();
      table.row(
          job.getId(),
          job.getSpec().getName(),
          JobJson.state(job.getState()),
          step(progress),
          progress.getEpoch() > 0 ? progress.getEpoch() : "-",
          loss(progress),
          workers(job),
          Units.age(job.getCreatedAtMs(), time().millis()));
    }
    terminal().print(table.toString());
    return ExitCodes.DONE;
  }

  /** 40/100; - before the first. */
  static String step(Progress progress) {
    if (progress.getTotalSteps() > 0) {
      return progress.getStep() + "/" + progress.getTotalSteps();
    }
    return progress.getStep() > 0 ? String.valueOf(progress.getStep()) : "-";
  }

  /** - where there is none yet. */
  static String loss(Progress progress) {
    return progress.hasLoss() ? String.format(Locale.ROOT, "%.4f", progress.getLoss()) : "-";
  }

  /** Those that run it now. */
  static String workers(Job job) {
    return job.getState() == JobState.JOB_STATE_RUNNING && job.getAttemptsCount() > 0
        ? String.join(",", job.getAttempts(job.getAttemptsCount() - 1).getWorkersList())
        : "-";
  }
}
