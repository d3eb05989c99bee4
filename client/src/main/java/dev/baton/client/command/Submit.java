package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.jobfile.JobFile;
import dev.baton.client.jobfile.JobFileException;
import dev.baton.transfer.FileProblems;
import dev.baton.v1.JobSpec;
import dev.baton.v1.SubmitJobRequest;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Submits a job file. */
@Command(
    name = "submit",
    description = "Submit a job file; prints the job's id once the coordinator has it on disk.",
    footer = {
      "",
      "With --wait the exit code says how the job ended: 0 succeeded, 1 failed, 3 cancelled,"
          + " 4 timed out."
    })
final class Submit implements Callable<Integer> {
  private final Baton baton;

  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--set",
      paramLabel = "KEY=VALUE",
      description = "Replace a value of the file, as in training.epochs=3; may be repeated.")
  private List<String> settings = List.of();

  @Option(names = "--wait", description = "Wait until the job has ended.")
  private boolean wait;

  @Option(
      names = "--timeout",
      paramLabel = "DURATION",
      converter = Durations.class,
      description = "With --wait: wait so long at most, as in 90s, 10m, 2h.")
  private @Nullable Duration timeout;

  @Parameters(paramLabel = "FILE", description = "The job file; - for standard input.")
  private String file = "";

  Submit(Baton baton) {
    this.baton = baton;
  }

  @Override
  public Integer call() throws IOException, JobFileException, InterruptedException {
    if (timeout != null && !wait) {
      throw new ParameterException(
          spec.commandLine(), "--timeout without --wait: it limits how long --wait waits");
    }
    // The file's errors come before the connection's.
    String source = file.equals("-") ? "standard input" : file;
    JobSpec spec = JobFile.read(source, content(), settings);
    SubmitJobRequest request =
        SubmitJobRequest.newBuilder()
            .setRequestId(UUID.randomUUID().toString())
            .setSpec(spec)
            .build();
    try (Connection connection = baton.connect()) {
      String id = submit(connection, request, source);
      baton.shell().terminal().println(id);
      if (wait) {
        new JobEnd().await(connection, id, timeout, baton.shell().time());
      }
    }
    return ExitCodes.DONE;
  }

  private static String submit(Connection connection, SubmitJobRequest request, String source)
      throws InterruptedException {
    try {
      return connection.repeat(() -> connection.jobs().submitJob(request)).getJobId();
    } catch (StatusRuntimeException e) {
      if (e.getStatus().getCode() == Code.INVALID_ARGUMENT) {
        throw new CommandException(ExitCodes.USAGE, source + ": " + e.getStatus().getDescription());
      }
      throw e;
    }
  }

  private byte[] content() throws IOException {
    if (file.equals("-")) {
      return baton.shell().in().readAllBytes();
    }
    try {
      return Files.readAllBytes(Path.of(file));
    } catch (IOException e) {
      throw new CommandException(
          ExitCodes.USAGE, "cannot read the job file " + FileProblems.describe(Path.of(file), e));
    }
  }
}
