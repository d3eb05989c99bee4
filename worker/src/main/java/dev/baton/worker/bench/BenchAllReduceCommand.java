package dev.baton.worker.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.baton.worker.natives.NativeLibraries;
import dev.baton.worker.trainer.GroupBrokenException;
import dev.baton.worker.trainer.Membership;
import dev.baton.worker.trainer.torch.AllReduceTimer;
import dev.baton.worker.trainer.torch.TorchEngines;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/**
 * {@code baton bench allreduce}: what it costs to add gradients over replicas on this machine, with
 * Gloo. Prints one line of JSON.
 */
@Command(
    name = "allreduce",
    description = "Measures adding vectors over replicas; prints one line of JSON.",
    mixinStandardHelpOptions = true)
public final class BenchAllReduceCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--floats",
      required = true,
      paramLabel = "N",
      description = "Elements of each replica's vector.")
  private long floats;

  @Option(
      names = "--replicas",
      required = true,
      paramLabel = "R",
      description = "Processes, of one thread each.")
  private int replicas;

  @Option(
      names = "--steps",
      defaultValue = "20",
      paramLabel = "K",
      description = "Additions to measure, after 3 to warm up. Default: ${DEFAULT-VALUE}.")
  private int steps;

  @Option(names = "--fast", description = "c10d's own sum instead of the exact one.")
  private boolean fast;

  @Option(names = RankProcesses.RANK_OPTION, hidden = true, defaultValue = "-1")
  private int rank;

  @Override
  public Integer call() throws IOException, InterruptedException {
    atLeast(1, "--floats", floats);
    atLeast(2, "--replicas", replicas);
    atLeast(1, "--steps", steps);
    PrintWriter out = spec.commandLine().getOut();
    if (rank < 0) {
      NativeLibraries natives = LibtorchProcess.natives(List.of());
      return new RankProcesses(
              natives, 1, List.of(), spec.root().commandLine().getParseResult().originalArgs())
          .run(replicas, out);
    }
    try {
      TorchEngines.load();
      long[] nanos =
          AllReduceTimer.run(
              RankProcesses.membership(rank, replicas, Membership.Backend.GLOO),
              floats,
              steps,
              !fast,
              port -> RankProcesses.listening(out, port));
      if (rank == 0) {
        out.println(line(nanos));
        out.flush();
      }
      return 0;
    } catch (GroupBrokenException e) {
      spec.commandLine().getErr().println("error: " + e.getMessage());
      return 1;
    }
  }

  private String line(long[] nanos) throws IOException {
    long[] sorted = nanos.clone();
    Arrays.sort(sorted);
    int half = sorted.length / 2;
    double median = sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2.0;
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("floats", floats);
    line.put("replicas", replicas);
    line.put("exact", !fast);
    line.put(
        "us_per_allreduce", Numbers.rounded(Arrays.stream(nanos).average().orElse(0) / 1e3, 1));
    line.put("median", Numbers.rounded(median / 1e3, 1));
    return new ObjectMapper().writeValueAsString(line);
  }

  private void atLeast(long least, String option, long value) {
    if (value < least) {
      throw new ParameterException(
          spec.commandLine(), option + " is " + value + "; it must be at least " + least);
    }
  }
}
