package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.JobJson;
import dev.baton.client.output.Table;
import dev.baton.client.output.Terminal;
import dev.baton.client.output.Units;
import dev.baton.v1.Attempt;
import dev.baton.v1.Checkpoint;
import dev.baton.v1.GetJobRequest;
import dev.baton.v1.Job;
import dev.baton.v1.Progress;
import dev.baton.v1.ReplicaProgress;
import java.util.TreeMap;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Shows one job. */
@Command(
    name = "show",
    description = "Show a job: progress, attempts, checkpoints, result.",
    footer = {
      "",
      "With -o json: {id, name, state,",
      "attempts: [{number, term, workers, started_at, ended_at, end_reason,",
      "            first_step, last_step}],",
      "progress: {step, total_steps, epoch, loss, samples_per_second, eta_seconds},",
      "checkpoints: [{step, bytes, sha256, committed_at}],",
      "result: {metrics: {accuracy, loss, ...}, weights_sha256, exact}}",
      "and more keys after these. Times are text such as 2026-01-31T12:34:56.789Z. What is not there"
          + " yet is null: ended_at, end_reason, first_step, last_step, loss, eta_seconds, result."
    })
final class Show extends Verb {
  @Mixin private OutputFormat output = new OutputFormat();

  @Option(names = "--why", description = "Only say why the job waits, or why it ended.")
  private boolean why;

  @Parameters(paramLabel = "JOB", description = "The job's id.")
  private String id = "";

  Show(Baton baton) {
    super(baton);
  }

  @Override
  int run(Connection connection) {
    Job job = connection.jobs().getJob(GetJobRequest.newBuilder().setJobId(id).build());
    if (output.json()) {
      terminal().println(JobJson.of(job).toString());
    } else if (why) {
      terminal().say(why(job));
    } else {
      print(job);
    }
    return ExitCodes.DONE;
  }

  private static String why(Job job) {
    String state = JobJson.state(job.getState());
    return job.getReason().isEmpty() ? state : state + ": " + job.getReason();
  }

  private void print(Job job) {
    Terminal out = terminal();
    out.say("Job:       " + job.getId() + " (" + job.getSpec().getName() + ")");
    out.say("State:     " + why(job));
    out.say(
        "Submitted: "
            + Units.time(job.getCreatedAtMs())
            + (job.getEndedAtMs() > 0
                ? ", ended " + Units.time(job.getEndedAtMs())
                : ", " + Units.age(job.getCreatedAtMs(), time().millis()) + " ago"));
    Progress progress = job.getProgress();
    if (progress.getStep() > 0 || !progress.getPhase().isEmpty()) {
      out.say("Progress:  " + ProgressText.of(progress));
    }
    if (progress.getReplicasCount() > 0) {
      Table table = new Table("RANK", "WORKER", "SAMPLES/S", "ALL-REDUCE", "SENT", "MEMORY");
      for (ReplicaProgress replica : progress.getReplicasList()) {
        table.row(
            replica.getRank(),
            replica.getWorker(),
            Math.round(replica.getSamplesPerSecond()),
            Math.round(100 * replica.getAllReduce()) + " %",
            Units.bytes(replica.getBytesSent()),
            Units.bytes(replica.getMemoryBytes()));
      }
      out.print("\n" + table);
    }
    if (job.getFailures() > 0) {
      out.say("Failures:  " + job.getFailures() + " of the job's own, tried again");
    }
    if (job.getAttemptsCount() > 0) {
      Table table = new Table("ATTEMPT", "TERM", "WORKERS", "STARTED", "RAN", "STEPS", "END");
      for (Attempt attempt : job.getAttemptsList()) {
        table.row(
            attempt.getNumber(),
            attempt.getTerm(),
            String.join(",", attempt.getWorkersList()),
            Units.time(attempt.getStartedAtMs()),
            Units.age(
                attempt.getStartedAtMs(),
                attempt.getEndedAtMs() > 0 ? attempt.getEndedAtMs() : time().millis()),
            attempt.hasFirstStep()
                ? attempt.getFirstStep()
                    + ".."
                    + (attempt.hasLastStep() ? attempt.getLastStep() : "")
                : "-",
            attempt.getEndReason().isEmpty() ? "-" : attempt.getEndReason());
      }
      out.print("\n" + table);
    }
    if (job.getCheckpointsCount() > 0) {
      Table table = new Table("CHECKPOINT", "SIZE", "COMMITTED", "SHA-256");
      for (Checkpoint checkpoint : job.getCheckpointsList()) {
        String sha256 = checkpoint.getSha256();
        table.row(
            "step " + checkpoint.getStep(),
            Units.bytes(checkpoint.getBytes()),
            Units.time(checkpoint.getCommittedAtMs()),
            sha256.length() > 12 ? sha256.substring(0, 12) + "..." : sha256);
      }
      out.print("\n" + table);
    }
    if (job.hasResult()) {
      Table table = new Table("METRIC", "VALUE");
      new TreeMap<>(job.getResult().getMetricsMap())
          .forEach((name, value) -> table.row(name, Units.number(value)));
      out.print("\n" + table + "\n");
      out.say(
          "Weights:   sha256 "
              + job.getResult().getWeightsSha256()
              + (job.getResult().getExact() ? " (exact)" : " (not exact)"));
    }
  }
}
