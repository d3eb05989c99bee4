package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.connection.Time;
import dev.baton.client.output.Terminal;
import dev.baton.transfer.ObjectTransfer;
import java.util.concurrent.Callable;

/** A verb that asks the coordinator for something. */
abstract class Verb implements Callable<Integer> {
  private final Baton baton;

  Verb(Baton baton) {
    this.baton = baton;
  }

  @Override
  public final Integer call() throws Exception {
    int code;
    try (Connection connection = baton.connect()) {
      code = run(connection);
    }
    terminal().flush();
    return code;
  }

  /** Does the work; the exit code. */
  abstract int run(Connection connection) throws Exception;

  final Shell shell() {
    return baton.shell();
  }

  /** What moves objects; to be asked for while the verb runs. */
  final ObjectTransfer transfer() {
    return baton.transfer();
  }

  final Terminal terminal() {
    return shell().terminal();
  }

  final Time time() {
    return shell().time();
  }
}
