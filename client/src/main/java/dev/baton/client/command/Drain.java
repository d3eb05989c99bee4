package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.v1.DrainWorkerRequest;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** Drains a worker. */
@Command(name = "drain", description = "Let a worker hand its jobs over and take no more.")
final class Drain extends Verb {
  @Parameters(paramLabel = "WORKER", description = "The worker's name or id.")
  private String worker = "";

  Drain(Baton baton) {
    super(baton);
  }

  @Override
  int run(Connection connection) throws InterruptedException {
    DrainWorkerRequest request = DrainWorkerRequest.newBuilder().setWorker(worker).build();
    terminal().println(connection.repeat(() -> connection.admin().drainWorker(request)).getState());
    return ExitCodes.DONE;
  }
}
