package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.JobJson;
import dev.baton.v1.Job;
import dev.baton.v1.JobRequest;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** Pauses a job. */
@Command(
    name = "pause",
    description =
        "Pause a job: it takes a checkpoint and gives its workers back until it is resumed.")
final class Pause extends Verb {
  @Parameters(paramLabel = "JOB", description = "The job's id.")
  private String id = "";

  Pause(Baton baton) {
    super(baton);
  }

  @Override
  int run(Connection connection) throws InterruptedException {
    JobRequest request = JobRequest.newBuilder().setJobId(id).build();
    Job job = connection.repeat(() -> connection.jobs().pauseJob(request));
    terminal().println(JobJson.state(job.getState()));
    return ExitCodes.DONE;
  }
}
