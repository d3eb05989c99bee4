package dev.baton.worker.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.baton.v1.Gpu;
import dev.baton.worker.natives.NativeLibraries;
import dev.baton.worker.process.NvidiaSmi;
import dev.baton.worker.trainer.GroupBrokenException;
import dev.baton.worker.trainer.Membership;
import dev.baton.worker.trainer.torch.CollectivesCheck;
import dev.baton.worker.trainer.torch.TorchEngines;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/**
 * {@code baton bench collectives}: whether replicas on this machine can talk with each other. On
 * GPUs each replica has one of its own, and NCCL carries the tensors. Prints one line of JSON.
 */
@Command(
    name = "collectives",
    description = "Tries what replicas say to each other; prints one line of JSON.",
    mixinStandardHelpOptions = true)
public final class BenchCollectivesCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--device",
      defaultValue = "cpu",
      paramLabel = "cpu|cuda",
      description = "cpu: over Gloo; cuda: over NCCL. Default: ${DEFAULT-VALUE}.")
  private String device = "cpu";

  @Option(
      names = "--replicas",
      defaultValue = "0",
      paramLabel = "R",
      description = "Processes. Default: 2, or one for each GPU.")
  private int replicas;

  @Option(names = RankProcesses.RANK_OPTION, hidden = true, defaultValue = "-1")
  private int rank;

  @Override
  public Integer call() throws IOException, InterruptedException {
    boolean cuda =
        switch (device) {
          case "cpu" -> false;
          case "cuda" -> true;
          default -> throw wrong("--device is " + device + "; it must be one of cpu, cuda");
        };
    List<Gpu> gpus = cuda ? NvidiaSmi.gpus() : List.of();
    if (cuda && gpus.isEmpty()) {
      throw new IOException("--device cuda: nvidia-smi finds no GPU here");
    }
    int size = replicas != 0 ? replicas : cuda ? gpus.size() : 2;
    if (size < 1 || (cuda && size > gpus.size())) {
      throw wrong(
          "--replicas is "
              + replicas
              + "; it must be at least 1"
              + (cuda ? " and at most the GPUs, " + gpus.size() : ""));
    }
    PrintWriter out = spec.commandLine().getOut();
    if (rank < 0) {
      NativeLibraries natives = LibtorchProcess.natives(gpus);
      return new RankProcesses(
              natives, 1, gpus, spec.root().commandLine().getParseResult().originalArgs())
          .run(size, out);
    }
    try {
      TorchEngines.load();
      Membership membership =
          RankProcesses.membership(rank, size, RankProcesses.backend(size, gpus));
      Map<String, Boolean> results =
          CollectivesCheck.run(membership, cuda, port -> RankProcesses.listening(out, port));
      if (rank == 0) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("backend", membership.backend().name().toLowerCase(Locale.ROOT));
        line.put("device", device);
        line.put("replicas", size);
        line.putAll(results);
        out.println(new ObjectMapper().writeValueAsString(line));
        out.flush();
      }
      return results.containsValue(false) ? 1 : 0;
    } catch (GroupBrokenException e) {
      spec.commandLine().getErr().println("error: " + e.getMessage());
      return 1;
    }
  }

  private ParameterException wrong(String message) {
    return new ParameterException(spec.commandLine(), message);
  }
}
