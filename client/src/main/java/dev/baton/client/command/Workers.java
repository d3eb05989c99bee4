package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.Json;
import dev.baton.client.output.JsonObject;
import dev.baton.client.output.Table;
import dev.baton.client.output.Units;
import dev.baton.v1.Gpu;
import dev.baton.v1.ListWorkersRequest;
import dev.baton.v1.Machine;
import dev.baton.v1.WorkerInfo;
import java.util.List;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** Lists workers. */
@Command(name = "workers", description = "List the workers and their machines.")
final class Workers extends Verb {
  @Mixin private OutputFormat output = new OutputFormat();

  Workers(Baton baton) {
    super(baton);
  }

  @Override
  int run(Connection connection) {
    List<WorkerInfo> workers =
        connection.admin().listWorkers(ListWorkersRequest.getDefaultInstance()).getWorkersList();
    if (output.json()) {
      terminal().println(Json.write(workers.stream().map(Workers::json).toList()));
      return ExitCodes.DONE;
    }
    Table table =
        new Table("NAME", "STATE", "JOBS", "SLOTS", "CPUS", "MEMORY", "GPUS", "CONNECTED", "ID");
    for (WorkerInfo worker : workers) {
      Machine machine = worker.getMachine();
      table.row(
          worker.getName(),
          worker.getState(),
          worker.getJobsCount(),
          worker.getSlots(),
          machine.getCpus(),
          Units.bytes(machine.getMemoryBytes()),
          gpus(machine),
          Units.age(worker.getConnectedAtMs(), time().millis()),
          worker.getId());
    }
    terminal().print(table.toString());
    return ExitCodes.DONE;
  }

  static String gpus(Machine machine) {
    return machine.getGpusCount() == 0
        ? "-"
        : machine.getGpusList().stream().map(Gpu::getModel).collect(Collectors.joining(", "));
  }

  static JsonObject json(WorkerInfo worker) {
    Machine machine = worker.getMachine();
    return new JsonObject()
        .put("id", worker.getId())
        .put("name", worker.getName())
        .put("state", worker.getState())
        .put("slots", worker.getSlots())
        .put("jobs", worker.getJobsList())
        .put("connected_at", Units.isoTime(worker.getConnectedAtMs()))
        .put(
            "machine",
            new JsonObject()
                .put("hostname", machine.getHostname())
                .put("os", machine.getOs())
                .put("cpu_model", machine.getCpuModel())
                .put("cpus", machine.getCpus())
                .put("memory_bytes", machine.getMemoryBytes())
                .put("disk_bytes", machine.getDiskBytes())
                .put("gpus", machine.getGpusList().stream().map(Workers::json).toList())
                .put("libtorch", machine.getLibtorch())
                .put("java", machine.getJava()));
  }

  private static JsonObject json(Gpu gpu) {
    return new JsonObject()
        .put("index", gpu.getIndex())
        .put("model", gpu.getModel())
        .put("memory_bytes", gpu.getMemoryBytes())
        .put("compute_capability", gpu.getComputeCapability())
        .put("driver", gpu.getDriver());
  }
}
