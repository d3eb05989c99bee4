package dev.baton.worker;

import dev.baton.transfer.FileProblems;
import dev.baton.worker.bench.BenchCommand;
import dev.baton.worker.bench.MachineCommand;
import java.io.IOException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The worker module's verbs. */
@Command(name = "baton", description = "Trains neural networks on GPUs that may vanish.")
public final class Main implements Runnable {
  private static final Logger log = LoggerFactory.getLogger(Main.class);

  private static final int REFUSED = 1;

  @Spec private CommandSpec spec = CommandSpec.create();

  public static void main(String[] args) {
    System.exit(commandLine(new WorkerCommand()).execute(args));
  }

  /** The module's verbs, as words behind {@code baton}: for completion in shells. */
  public static CommandLine everyVerb() {
    return commandLine(new WorkerCommand());
  }

  static CommandLine commandLine(WorkerCommand worker) {
    CommandLine line =
        new CommandLine(new Main())
            .addSubcommand("worker", worker)
            .addSubcommand("bench", new BenchCommand())
            .addSubcommand("machine", new MachineCommand())
            .addSubcommand("doctor", new Doctor());
    line.setCaseInsensitiveEnumValuesAllowed(true);
    line.setParameterExceptionHandler(
        (e, args) -> {
          e.getCommandLine().getErr().println("error: " + e.getMessage());
          return CommandLine.ExitCode.USAGE;
        });
    line.setExecutionExceptionHandler(
        (e, command, result) -> {
          command.getErr().println("error: " + message(e));
          return REFUSED;
        });
    return line;
  }

  // One line for what the user can mend; for a bug the log has the rest.
  private static String message(Exception e) {
    if (e instanceof IOException io) {
      return FileProblems.describe(io);
    }
    log.error("a bug in the worker", e);
    return "a bug in the worker: " + e + "; its log has the details";
  }

  @Override
  public void run() {
    throw new ParameterException(
        spec.commandLine(), "no verb; expected worker, bench train or machine");
  }
}
