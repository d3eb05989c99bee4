package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.v1.LogChunk;
import dev.baton.v1.StreamLogsRequest;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Prints a job's log. */
@Command(name = "logs", description = "Print a job's log.")
final class Logs extends Verb {
  @Option(
      names = {"-f", "--follow"},
      description = "And each new piece, until the job has ended.")
  private boolean follow;

  @Parameters(paramLabel = "JOB", description = "The job's id.")
  private String id = "";

  // Of the next byte to print.
  private long offset;

  Logs(Baton baton) {
    super(baton);
  }

  @Override
  int run(Connection connection) throws InterruptedException {
    connection.readToEnd(
        () ->
            connection
                .jobs()
                .streamLogs(
                    StreamLogsRequest.newBuilder()
                        .setJobId(id)
                        .setOffset(offset)
                        .setFollow(follow)
                        .build()),
        this::print);
    return ExitCodes.DONE;
  }

  private void print(LogChunk chunk) {
    byte[] data = chunk.getData().toByteArray();
    long known = Math.max(0, offset - chunk.getOffset());
    if (known >= data.length) {
      return;
    }
    terminal().write(data, (int) known, data.length - (int) known);
    terminal().flush();
    offset = chunk.getOffset() + data.length;
  }
}
