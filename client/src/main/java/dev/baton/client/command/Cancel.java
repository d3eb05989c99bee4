package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.JobJson;
import dev.baton.v1.Job;
import dev.baton.v1.JobRequest;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** Cancels a job. */
@Command(
    name = "cancel",
    description = "Cancel a job: it ends, and what it has not committed is dropped.")
final class Cancel extends Verb {
  @Parameters(paramLabel = "JOB", description = "The job's id.")
  private String id = "";

  Cancel(Baton baton) {
    super(baton);
  }

  @Override
  int run(Connection connection) throws InterruptedException {
    JobRequest request = JobRequest.newBuilder().setJobId(id).build();
    Job job = connection.repeat(() -> connection.jobs().cancelJob(request));
    terminal().println(JobJson.state(job.getState()));
    return ExitCodes.DONE;
  }
}
