package dev.baton.client.command;

import dev.baton.client.connection.CallErrors;
import dev.baton.client.connection.Settings;
import dev.baton.client.jobfile.JobFileException;
import dev.baton.client.jobfile.Spelling;
import dev.baton.client.output.Terminal;
import dev.baton.dataset.DatasetException;
import dev.baton.rpc.TrustProblems;
import dev.baton.transfer.FileProblems;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.IExecutionExceptionHandler;
import picocli.CommandLine.IParameterExceptionHandler;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.UnmatchedArgumentException;

/** Turns every exception into one line on standard error and an exit code. */
final class ErrorLines implements IExecutionExceptionHandler, IParameterExceptionHandler {
  private final Baton baton;

  ErrorLines(Baton baton) {
    this.baton = baton;
  }

  @Override
  public int handleParseException(ParameterException e, String[] args) {
    String command = e.getCommandLine().getCommandSpec().qualifiedName();
    print(usage(e) + " (see " + command + " --help)");
    return ExitCodes.USAGE;
  }

  private static String usage(ParameterException e) {
    if (e instanceof UnmatchedArgumentException unmatched && !unmatched.getUnmatched().isEmpty()) {
      String word = unmatched.getUnmatched().get(0);
      CommandLine line = e.getCommandLine();
      if (word.startsWith("-")) {
        List<String> options = new ArrayList<>();
        line.getCommandSpec().options().forEach(option -> options.add(option.longestName()));
        String name = word.contains("=") ? word.substring(0, word.indexOf('=')) : word;
        return "unknown option " + word + near(name, options);
      }
      if (line.getCommand() instanceof VerbGroup group) {
        return "unknown verb " + word + Spelling.hint(word, group.verbs());
      }
      return "unexpected argument " + word;
    }
    String message = String.valueOf(e.getMessage()).replaceAll("\\s+", " ").strip();
    return message.substring(0, 1).toLowerCase(java.util.Locale.ROOT) + message.substring(1);
  }

  // A list of every option would be no help.
  private static String near(String word, List<String> known) {
    String hint = Spelling.hint(word, known);
    return hint.contains("did you mean") ? hint : "";
  }

  @Override
  public int handleExecutionException(Exception e, CommandLine line, ParseResult parsed) {
    return report(e);
  }

  /** Prints the line; the exit code. */
  int report(Exception e) {
    baton.shell().terminal().finishLine();
    if (e instanceof Terminal.ClosedException) {
      // Somebody had read enough: head, or a pager that was left.
      return ExitCodes.DONE;
    }
    Optional<String> notTrusted =
        e instanceof StatusRuntimeException
            ? baton.access().flatMap(access -> TrustProblems.describe(e, access))
            : Optional.empty();
    int code = notTrusted.isPresent() ? ExitCodes.FAILED : code(e);
    @Nullable String message = notTrusted.orElseGet(() -> expected(e));
    if (message == null) {
      print("unexpected: " + oneLine(e.toString()) + trace(e));
    } else {
      print(oneLine(message));
      if (baton.debug()) {
        baton.shell().terminal().notes(stackTrace(e));
      }
    }
    return code;
  }

  private static int code(Exception e) {
    if (e instanceof CommandException command) {
      return command.exitCode();
    }
    if (e instanceof JobFileException
        || e instanceof Settings.InvalidException
        || e instanceof DatasetException
        || e instanceof ParameterException) {
      return ExitCodes.USAGE;
    }
    if (e instanceof StatusRuntimeException call) {
      return switch (call.getStatus().getCode()) {
        case UNAVAILABLE, DEADLINE_EXCEEDED -> ExitCodes.UNREACHABLE;
        case INVALID_ARGUMENT -> ExitCodes.USAGE;
        default -> ExitCodes.FAILED;
      };
    }
    return ExitCodes.FAILED;
  }

  /** The line for what a user, a coordinator or a disk can cause; null for a bug of ours. */
  private @Nullable String expected(Exception e) {
    if (e instanceof StatusRuntimeException call) {
      return CallErrors.describe(
          call,
          baton
              .access()
              .map(access -> access.address().toString())
              .orElse(Settings.DEFAULT_COORDINATOR));
    }
    if (e instanceof CommandException
        || e instanceof JobFileException
        || e instanceof Settings.InvalidException
        || e instanceof DatasetException
        || e instanceof ParameterException) {
      return e.getMessage();
    }
    if (e instanceof UncheckedIOException unchecked) {
      return unchecked.getCause() instanceof FileSystemException file
          ? FileProblems.describe(file)
          : e.getMessage();
    }
    if (e instanceof InterruptedException) {
      return "interrupted";
    }
    if (e instanceof IOException io) {
      return FileProblems.describe(io);
    }
    return null;
  }

  private void print(String message) {
    baton.shell().terminal().notes("error: " + message);
  }

  /** Shows the trace, or says in which file it is. */
  private String trace(Exception e) {
    if (!baton.debug()) {
      Path folder = StateFolder.in(baton.shell().environment());
      Path log = folder.resolve("client.log");
      try {
        Files.createDirectories(folder);
        Files.writeString(
            log,
            Instant.ofEpochMilli(baton.shell().time().millis()) + " " + stackTrace(e) + "\n",
            StandardOpenOption.CREATE,
            StandardOpenOption.APPEND);
        return " (a bug; its trace is in " + log + ")";
      } catch (IOException unwritable) {
        e.addSuppressed(unwritable);
      }
    }
    return "\n" + stackTrace(e);
  }

  private static String stackTrace(Exception e) {
    StringWriter text = new StringWriter();
    e.printStackTrace(new PrintWriter(text));
    return text.toString();
  }

  private static String oneLine(String text) {
    return text.strip().replaceAll("\\s+", " ");
  }
}
