package dev.baton.worker.process;

import dev.baton.v1.AttemptOutcome;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Tells from a trainer's end what went wrong, where it did not say so itself. Pure. */
public final class ExitClassifier {
  private static final int SIGNAL_BASE = 128;
  private static final int SIGKILL = 9;
  private static final Map<Integer, String> SIGNALS =
      Map.ofEntries(
          Map.entry(1, "SIGHUP"),
          Map.entry(2, "SIGINT"),
          Map.entry(3, "SIGQUIT"),
          Map.entry(4, "SIGILL"),
          Map.entry(5, "SIGTRAP"),
          Map.entry(6, "SIGABRT"),
          Map.entry(7, "SIGBUS"),
          Map.entry(8, "SIGFPE"),
          Map.entry(9, "SIGKILL"),
          Map.entry(11, "SIGSEGV"),
          Map.entry(15, "SIGTERM"),
          Map.entry(24, "SIGXCPU"),
          Map.entry(25, "SIGXFSZ"),
          Map.entry(31, "SIGSYS"));
  // Sent from outside; the others are raised by the code that runs.
  private static final List<Integer> FROM_OUTSIDE = List.of(1, 2, 9, 15);

  // c10's: c10/cuda/CUDACachingAllocator.cpp, c10/core/impl/alloc_cpu.cpp; then the JVM's.
  private static final List<String> OUT_OF_MEMORY =
      List.of(
          "CUDA out of memory",
          "DefaultCPUAllocator: can't allocate memory",
          "DefaultCPUAllocator: not enough memory",
          "CUDA error: out of memory",
          "java.lang.OutOfMemoryError",
          "insufficient memory for the Java Runtime Environment",
          "std::bad_alloc");
  private static final Pattern FATAL = Pattern.compile("#\\s+(SIG[A-Z]+) \\(0x");
  private static final Pattern FRAME = Pattern.compile("# Problematic frame:\\s*\n#\\s+(.+)");
  private static final int MESSAGE_CHARS = 400;

  /** An outcome, and one line for the user. */
  public record Verdict(AttemptOutcome outcome, String message) {}

  private ExitClassifier() {}

  /** The verdict on an end that no message announced. */
  public static Verdict classify(TrainerExit exit) {
    Optional<String> memoryLine = lineWith(exit.logTail(), OUT_OF_MEMORY);
    int signal = exit.code() > SIGNAL_BASE ? exit.code() - SIGNAL_BASE : 0;
    if (signal == SIGKILL && exit.outOfMemoryKill()) {
      return new Verdict(
          AttemptOutcome.ATTEMPT_OUTCOME_OUT_OF_MEMORY,
          "the kernel killed the trainer because the machine's memory ran out;"
              + " a smaller batch or model would fit, or a worker with more memory");
    }
    if (memoryLine.isPresent() && !FROM_OUTSIDE.contains(signal)) {
      return new Verdict(
          AttemptOutcome.ATTEMPT_OUTCOME_OUT_OF_MEMORY, "out of memory: " + cut(memoryLine.get()));
    }
    if (FROM_OUTSIDE.contains(signal)) {
      return new Verdict(
          AttemptOutcome.ATTEMPT_OUTCOME_KILLED,
          "the trainer was killed from outside (" + SIGNALS.get(signal) + ")");
    }
    if (signal != 0) {
      return new Verdict(AttemptOutcome.ATTEMPT_OUTCOME_CRASHED, crash(signal, exit.logTail()));
    }
    String last = lastLine(exit.logTail());
    return new Verdict(
        AttemptOutcome.ATTEMPT_OUTCOME_CRASHED,
        "the trainer exited with code "
            + exit.code()
            + " before it had finished"
            + (last.isEmpty() ? " and printed nothing" : "; it printed last: " + cut(last)));
  }

  private static String crash(int signal, String tail) {
    // HotSpot reports the signal, then aborts: the exit code says SIGABRT whatever it was.
    Matcher fatal = FATAL.matcher(tail);
    String name = fatal.find() ? fatal.group(1) : SIGNALS.getOrDefault(signal, "signal " + signal);
    Matcher frame = FRAME.matcher(tail);
    return "the trainer crashed in native code ("
        + name
        + (frame.find() ? " in " + cut(frame.group(1).strip()) : "")
        + "); its log has the details";
  }

  private static Optional<String> lineWith(String text, List<String> needles) {
    return text.lines()
        .filter(line -> needles.stream().anyMatch(line::contains))
        .map(String::strip)
        .findFirst();
  }

  private static String lastLine(String text) {
    return text.lines().map(String::strip).filter(l -> !l.isEmpty()).reduce("", (a, b) -> b);
  }

  private static String cut(String line) {
    return line.length() <= MESSAGE_CHARS ? line : line.substring(0, MESSAGE_CHARS) + "...";
  }
}
