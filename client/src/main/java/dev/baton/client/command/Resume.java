package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.JobJson;
import dev.baton.v1.Job;
import dev.baton.v1.JobRequest;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** Resumes a paused job. */
@Command(name = "resume", description = "Resume a paused job: it is queued again.")
final class Resume extends Verb {
  @Parameters(paramLabel = "JOB", description = "The job's id.")
  private String id = "";

  Resume(Baton baton) {
    super(baton);
  }

  @Override
  int run(Connection connection) throws InterruptedException {
    JobRequest request = JobRequest.newBuilder().setJobId(id).build();
    Job job = connection.repeat(() -> connection.jobs().resumeJob(request));
    terminal().println(JobJson.state(job.getState()));
    return ExitCodes.DONE;
  }
}
