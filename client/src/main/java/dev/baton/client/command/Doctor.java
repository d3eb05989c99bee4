package dev.baton.client.command;

import dev.baton.client.connection.Settings;
import dev.baton.client.output.Json;
import dev.baton.doctor.CoordinatorChecks;
import dev.baton.doctor.CoordinatorChecks.Caller;
import dev.baton.doctor.Diagnosis;
import dev.baton.doctor.HttpProbe;
import dev.baton.doctor.MachineChecks;
import dev.baton.rpc.Version;
import dev.baton.v1.AdminServiceGrpc;
import dev.baton.v1.CoordinatorInfo;
import dev.baton.v1.ListWorkersRequest;
import io.grpc.ManagedChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** Says what is wrong with the client's set-up. The launcher hands those of others on. */
@Command(
    name = "doctor",
    description = "Say what is wrong with this set-up, and what to do.",
    footer = {
      "",
      "Of a worker:      baton doctor --work-dir DIR, with the worker's own options",
      "Of a coordinator: baton doctor --data-dir DIR, with the coordinator's own options",
      "",
      "One line for each check: ok, warn or FAIL, what, and what to do; with -o json a list of"
          + " {status, check, message}. Exit codes: 0 nothing fails, 1 something does."
    })
final class Doctor implements Callable<Integer> {
  private static final Caller CLIENT = new Caller(Version.OF_THIS, 0, Set.of("user", "admin"));

  private final Baton baton;
  private final Diagnosis diagnosis = new Diagnosis();

  @Mixin private OutputFormat output = new OutputFormat();

  Doctor(Baton baton) {
    this.baton = baton;
  }

  @Override
  public Integer call() throws InterruptedException {
    settings().ifPresent(this::coordinator);
    baton
        .shell()
        .terminal()
        .print(output.json() ? Json.write(diagnosis.rows()) + "\n" : diagnosis.text());
    return diagnosis.exitCode();
  }

  private Optional<Settings> settings() {
    Path file = Settings.configFile(baton.shell().environment());
    try {
      Settings settings = baton.settings();
      diagnosis.ok(
          "settings",
          "the coordinator is "
              + settings.access().address()
              + ", by flags, environment and "
              + file
              + (Files.exists(file) ? "" : " (which is not there)"));
      MachineChecks.secret(diagnosis, file);
      return Optional.of(settings);
    } catch (Settings.InvalidException e) {
      diagnosis.fail("settings", String.valueOf(e.getMessage()));
      return Optional.empty();
    }
  }

  private void coordinator(Settings settings) {
    CoordinatorChecks checks =
        new CoordinatorChecks(diagnosis, settings.access(), CLIENT, baton.shell().time()::millis);
    if (!checks.way(settings.proxies())) {
      return;
    }
    baton.quietLogs();
    ManagedChannel channel = baton.shell().connector().open(settings);
    try {
      Optional<CoordinatorInfo> info = checks.call(channel);
      if (info.isPresent()) {
        HttpProbe probe = baton.shell().probes().apply(settings);
        checks.http(info.get(), probe);
        checks.objects(info.get(), probe);
        if (CLIENT.roles().contains(info.get().getRole())) {
          workers(channel);
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      diagnosis.fail("objects", "interrupted");
    } finally {
      channel.shutdownNow();
    }
  }

  private void workers(ManagedChannel channel) {
    long active =
        AdminServiceGrpc.newBlockingStub(channel)
            .listWorkers(ListWorkersRequest.getDefaultInstance())
            .getWorkersList()
            .stream()
            .filter(worker -> worker.getState().equals("ACTIVE"))
            .count();
    if (active == 0) {
      diagnosis.warn(
          "workers",
          "none is there to take jobs; 'baton token create --role worker' prints a line that makes"
              + " a machine one");
    } else {
      diagnosis.ok("workers", active + " take jobs");
    }
  }
}
