package dev.baton.worker.bench;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code baton bench}, as far as the worker goes. */
@Command(
    name = "bench",
    description = "Measures this machine.",
    mixinStandardHelpOptions = true,
    subcommands = {
      BenchTrainCommand.class,
      BenchAllReduceCommand.class,
      BenchCollectivesCommand.class
    })
public final class BenchCommand implements Runnable {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Override
  public void run() {
    throw new ParameterException(
        spec.commandLine(), "bench what? train, allreduce, collectives, or coordinator");
  }
}
