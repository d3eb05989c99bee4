package dev.baton.client.command;

import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.AutoComplete;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ScopeType;

/**
 * Prints the shell's completion for every verb that is installed here. The other modules' verbs are
 * read from their own command lines, which the launcher puts on the class path for this verb.
 */
@Command(
    name = "completion",
    description = "Print what completes verbs and options in a shell.",
    footer = {
      "",
      "For every new shell: echo 'source <(baton completion bash)' >> ~/.bashrc",
      "(zsh: echo 'source <(baton completion zsh)' >> ~/.zshrc)"
    })
final class Completion implements Callable<Integer> {
  private static final String[] OTHER_MODULES = {
    "dev.baton.coordinator.Main", "dev.baton.worker.Main"
  };

  enum ShellName {
    BASH,
    ZSH;

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  private final Baton baton;

  // One script serves both: it turns on zsh's bashcompinit where zsh reads it.
  @Parameters(paramLabel = "bash|zsh", description = "The shell that will read it.")
  @SuppressWarnings("UnusedVariable") // picocli checks it
  private ShellName shell = ShellName.BASH;

  Completion(Baton baton) {
    this.baton = baton;
  }

  @Override
  public Integer call() throws ReflectiveOperationException {
    CommandLine all = new CommandLine(CommandSpec.create().name("baton"));
    merge(all, baton.wholeLine());
    for (String name : OTHER_MODULES) {
      Class<?> module;
      try {
        module = Class.forName(name);
      } catch (ClassNotFoundException e) {
        // An archive without it.
        continue;
      }
      merge(all, (CommandLine) module.getMethod("everyVerb").invoke(null));
    }
    baton.shell().terminal().print(AutoComplete.bash("baton", all));
    return ExitCodes.DONE;
  }

  /**
   * Adds the verbs, and to verbs that are known the options, that only {@code from} has. Options
   * are not inherited any more: each of the client's verbs has them already, others do not.
   */
  private static void merge(CommandLine into, CommandLine from) {
    CommandSpec known = into.getCommandSpec();
    for (OptionSpec option : from.getCommandSpec().options()) {
      if (known.findOption(option.longestName()) == null) {
        known.addOption(OptionSpec.builder(option).scopeType(ScopeType.LOCAL).build());
      }
    }
    for (Map.Entry<String, CommandLine> verb : from.getSubcommands().entrySet()) {
      CommandLine same = into.getSubcommands().get(verb.getKey());
      if (same == null) {
        into.addSubcommand(verb.getKey(), verb.getValue());
      } else {
        merge(same, verb.getValue());
      }
    }
  }
}
