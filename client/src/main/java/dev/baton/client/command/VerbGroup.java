package dev.baton.client.command;

import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** A word that wants another behind it. */
abstract class VerbGroup implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Override
  public final Integer call() {
    throw new ParameterException(
        spec.commandLine(), "a verb is missing; one of " + String.join(", ", verbs()));
  }

  /** What may stand behind it. */
  List<String> verbs() {
    return List.copyOf(spec.subcommands().keySet());
  }
}
