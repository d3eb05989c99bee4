package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.Terminal.Size;
import dev.baton.v1.Job;
import dev.baton.v1.JobState;
import dev.baton.v1.ListJobsRequest;
import dev.baton.v1.ListWorkersRequest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Shows workers and jobs, again each second. */
@Command(
    name = "top",
    description =
        "Show workers and jobs, live, until Ctrl-C; where no terminal is, as they are now.",
    footer = {
      "",
      "With -o json: one line a second, {time, workers, jobs}, of what 'baton workers' and 'baton"
          + " jobs' print; time in milliseconds since the epoch."
    })
final class Top extends Verb {
  private static final Duration INTERVAL = Duration.ofSeconds(1);
  private static final int MOST_UNFINISHED = 1_000;
  private static final int LATEST_ENDED = 10;
  private static final List<JobState> UNFINISHED =
      List.of(JobState.JOB_STATE_RUNNING, JobState.JOB_STATE_QUEUED, JobState.JOB_STATE_PAUSED);
  private static final List<JobState> ENDED =
      List.of(
          JobState.JOB_STATE_SUCCEEDED, JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED);

  @Mixin private OutputFormat output = new OutputFormat();

  @Option(names = "--once", description = "As they are now, once.")
  private boolean once;

  private @Nullable TopView last;

  Top(Baton baton) {
    super(baton);
  }

  @Override
  int run(Connection connection) throws InterruptedException {
    boolean live = !once && (output.json() || terminal().screen().out());
    if (!live) {
      TopView view = ask(connection);
      terminal()
          .print(
              output.json()
                  ? view.json() + "\n"
                  : String.join("\n", view.lines(connection.address())) + "\n");
      return ExitCodes.DONE;
    }
    connection.poll(
        INTERVAL,
        () -> ask(connection),
        view -> {
          last = view;
          show(view, connection.address());
        },
        note -> lost(note, connection.address()));
    return ExitCodes.DONE;
  }

  private TopView ask(Connection connection) {
    var workers =
        connection.admin().listWorkers(ListWorkersRequest.getDefaultInstance()).getWorkersList();
    List<Job> jobs = new ArrayList<>();
    List<Job> unfinished = list(connection, UNFINISHED, MOST_UNFINISHED);
    for (JobState state : UNFINISHED) {
      unfinished.stream().filter(job -> job.getState() == state).forEach(jobs::add);
    }
    jobs.addAll(list(connection, ENDED, LATEST_ENDED));
    return new TopView(time().millis(), workers, jobs);
  }

  private static List<Job> list(Connection connection, List<JobState> states, int limit) {
    return connection
        .jobs()
        .listJobs(ListJobsRequest.newBuilder().setLimit(limit).addAllStates(states).build())
        .getJobsList();
  }

  private void show(TopView view, String title) {
    if (output.json()) {
      terminal().println(view.json().toString());
      return;
    }
    Size size = terminal().size();
    terminal().showFull(view.fitting(title, size));
  }

  private void lost(String note, String coordinator) {
    if (output.json() || last == null) {
      terminal().note(note);
    } else {
      show(last, coordinator + "  (" + note + ")");
    }
  }
}
