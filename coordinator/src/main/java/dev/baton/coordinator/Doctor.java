package dev.baton.coordinator;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.baton.coordinator.config.ConfigException;
import dev.baton.coordinator.config.CoordinatorConfig;
import dev.baton.coordinator.config.DataDir;
import dev.baton.coordinator.config.ForeignStore;
import dev.baton.coordinator.core.ObjectKeys;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.StoreException;
import dev.baton.coordinator.objectstore.ForeignS3;
import dev.baton.coordinator.objectstore.S3Settings;
import dev.baton.coordinator.store.DatabaseCheck;
import dev.baton.coordinator.store.NewerDatabaseException;
import dev.baton.coordinator.tls.ServerIdentity;
import dev.baton.doctor.Diagnosis;
import dev.baton.doctor.MachineChecks;
import dev.baton.rpc.HostPort;
import dev.baton.rpc.Pin;
import java.io.IOException;
import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/**
 * {@code baton doctor --data-dir DIR}: what is wrong with a coordinator's set-up, whether it runs
 * or not. Changes nothing.
 */
@Command(
    name = "baton doctor",
    description = "Says what is wrong with a coordinator's set-up, and what to do.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class Doctor implements Callable<Integer> {
  private static final long LEAST_DISK = 256L << 20;
  private static final long ENOUGH_DISK = 5L << 30;
  // Two for each of a thousand workers, and the rest.
  private static final long ENOUGH_FILES = 4_096;
  private static final Duration SOON = Duration.ofDays(30);

  @Spec
  @SuppressWarnings("NullAway.Init") // picocli sets it.
  private CommandSpec spec;

  /** The coordinator's own options. */
  @Mixin private Main coordinator = new Main();

  @Option(
      names = {"-o", "--output"},
      paramLabel = "table|json",
      defaultValue = "table",
      description = "What to print (default: ${DEFAULT-VALUE}).")
  private String output = "table";

  private final Diagnosis diagnosis = new Diagnosis();

  @Override
  public Integer call() throws JsonProcessingException {
    if (!output.equals("table") && !output.equals("json")) {
      throw new ParameterException(
          spec.commandLine(), "--output is " + output + "; expected table or json");
    }
    try {
      CoordinatorConfig config = coordinator.settings();
      diagnosis.ok("settings", "they fit together");
      check(config);
    } catch (ConfigException e) {
      diagnosis.fail("settings", String.valueOf(e.getMessage()));
    }
    PrintWriter out = spec.commandLine().getOut();
    if (output.equals("json")) {
      out.println(new ObjectMapper().writeValueAsString(diagnosis.rows()));
    } else {
      out.print(diagnosis.text());
    }
    out.flush();
    return diagnosis.exitCode();
  }

  private void check(CoordinatorConfig config) {
    Path dir = config.dataDir();
    Path there = MachineChecks.writable(diagnosis, "data-dir", dir);
    MachineChecks.space(diagnosis, there, LEAST_DISK, ENOUGH_DISK);
    for (String secret : new String[] {"admin.token", "tls.pem", "objects.key"}) {
      MachineChecks.secret(diagnosis, dir.resolve(secret));
    }
    Optional<String> holder = holder(dir);
    Optional<String> database = database(dir.resolve("coordinator.db"));
    port("--listen", config.grpc(), holder);
    port("--http", config.http(), holder);
    if (config.file().objects().isPresent()) {
      foreignStore(config.file().objects().get(), database);
    } else {
      port("--objects", config.objects(), holder);
      MachineChecks.writable(diagnosis, "objects", dir.resolve("objects"));
    }
    encryption(config);
    advertise(config);
    releases(config);
    MachineChecks.openFiles(diagnosis, ENOUGH_FILES);
  }

  private Optional<String> holder(Path dir) {
    try {
      Optional<String> holder = MachineChecks.holder(dir.resolve(DataDir.LOCK));
      diagnosis.ok(
          "process",
          holder
              .map(pid -> "process " + pid + " runs as the coordinator of " + dir)
              .orElse("no coordinator runs on " + dir));
      return holder;
    } catch (IOException e) {
      diagnosis.fail(
          "process", "the lock in " + dir + " cannot be looked at: " + DataDir.reason(e));
      return Optional.empty();
    }
  }

  /** The database's id, where it can be known. */
  private Optional<String> database(Path file) {
    if (!Files.exists(file)) {
      diagnosis.ok("database", "none yet; the first start makes it");
      return Optional.empty();
    }
    try {
      DatabaseCheck.Report report = DatabaseCheck.check(file);
      diagnosis.ok(
          "database",
          file
              + " is whole: "
              + report.jobs()
              + " jobs, "
              + MachineChecks.bytes(Files.size(file))
              + ", schema "
              + report.version());
      return report.id();
    } catch (NewerDatabaseException e) {
      diagnosis.fail("database", file + ": " + e.getMessage());
    } catch (StoreException | IOException e) {
      diagnosis.fail(
          "database",
          file
              + ": "
              + e.getMessage()
              + "; stop the coordinator and restore the folder from a backup");
    }
    return Optional.empty();
  }

  private void port(String option, HostPort address, Optional<String> holder) {
    String check = option.substring(2);
    boolean free;
    String why = "";
    try (ServerSocket socket = new ServerSocket()) {
      socket.setReuseAddress(true);
      socket.bind(CoordinatorConfig.resolve(option, address));
      free = true;
    } catch (IOException e) {
      free = false;
      why = String.valueOf(e.getMessage());
    }
    if (free && holder.isEmpty()) {
      diagnosis.ok(check, address + " is free");
    } else if (free) {
      diagnosis.warn(
          check,
          "process "
              + holder.get()
              + " does not listen on "
              + address
              + "; give here the options with which it was started");
    } else if (holder.isPresent() && why.contains("in use")) {
      diagnosis.ok(check, address + " is in use, while process " + holder.get() + " runs");
    } else {
      diagnosis.fail(
          check,
          "nothing can listen on "
              + address
              + " ("
              + why
              + "); 'ss -ltnp' shows who does; or choose another with "
              + option);
    }
  }

  private void foreignStore(ForeignStore store, Optional<String> database) {
    // As a coordinator's own: should it stay behind, the sweep finds it.
    String key = ObjectKeys.forDataset();
    try (ForeignS3 objects =
        ForeignS3.open(
            new S3Settings(
                store.endpoint(),
                store.region(),
                store.bucket(),
                store.accessKey(),
                store.secretKey()),
            InstantSource.system())) {
      objects.put(key, "baton doctor".getBytes(StandardCharsets.US_ASCII));
      boolean found = objects.stat(key).isPresent();
      objects.delete(key);
      Optional<String> owner = objects.owner();
      if (owner.isPresent() && !owner.equals(database)) {
        diagnosis.warn(
            "objects",
            store
                + " belongs to another coordinator's database, "
                + owner.get()
                + "; this one sweeps nothing there: choose a bucket of its own, or remove"
                + " baton/owner where the other is gone for good");
      } else if (found) {
        diagnosis.ok("objects", store + " can be written to, read and cleaned");
      } else {
        diagnosis.fail("objects", store + " does not find what it has just stored");
      }
    } catch (IllegalArgumentException | ObjectStoreException e) {
      diagnosis.fail(
          "objects", store + ": " + e.getMessage() + "; see objects: in the file of --config");
    }
  }

  private void encryption(CoordinatorConfig config) {
    boolean reachable =
        !CoordinatorConfig.isLoopback(config.grpc())
            || !CoordinatorConfig.isLoopback(config.http())
            || (config.file().objects().isEmpty()
                && !CoordinatorConfig.isLoopback(config.objects()));
    if (!config.encrypted()) {
      if (reachable) {
        diagnosis.warn(
            "tls",
            "other machines can connect and nothing is encrypted: everybody on the way can read"
                + " tokens and data; leave --insecure out");
      } else {
        diagnosis.ok("tls", "not encrypted, on this machine alone");
      }
      return;
    }
    try {
      Optional<ServerIdentity> identity =
          config.certificate().isPresent()
              ? Optional.of(
                  ServerIdentity.of(
                      config.certificate().get().certificate(),
                      config.certificate().get().key(),
                      InstantSource.system()))
              : ServerIdentity.known(config.dataDir());
      identity.ifPresentOrElse(
          this::certificate, () -> diagnosis.ok("tls", "the first start makes a key"));
    } catch (ConfigException e) {
      diagnosis.fail("tls", String.valueOf(e.getMessage()));
    }
  }

  private void certificate(ServerIdentity identity) {
    X509Certificate certificate = identity.chain().get(0);
    Instant end = certificate.getNotAfter().toInstant();
    String ends = "the certificate ends " + end;
    // One that is known by its key is good for longer than it says.
    if (identity.pin().equals(Pin.CA) && end.isBefore(Instant.now().plus(SOON))) {
      diagnosis.warn("tls", ends + "; renew it and start again");
    } else {
      diagnosis.ok("tls", ends + ", callers know it by " + known(identity.pin()));
    }
  }

  private static String known(Pin pin) {
    return pin.equals(Pin.CA) ? "its authority" : "its key " + pin;
  }

  private void advertise(CoordinatorConfig config) {
    boolean local = CoordinatorConfig.isLoopback(config.grpc());
    if (config.advertise().isEmpty()) {
      diagnosis.ok(
          "advertise",
          local
              ? "only this machine reaches the coordinator"
              : "callers are told the host by which they came, else "
                  + OwnHost.address().orElse("127.0.0.1"));
      return;
    }
    String host = config.advertise().get();
    try {
      InetAddress address = InetAddress.getByName(host);
      if (local || address.isLoopbackAddress()) {
        diagnosis.warn(
            "advertise",
            host
                + " is "
                + address.getHostAddress()
                + ", and gRPC listens on "
                + config.grpc()
                + (local
                    ? ": other machines do not reach that; --listen 0.0.0.0:PORT"
                    : ": other machines would look for it on themselves"));
      } else {
        diagnosis.ok("advertise", host + " is " + address.getHostAddress());
      }
    } catch (UnknownHostException e) {
      diagnosis.fail(
          "advertise", "the host " + host + " is unknown here; is it spelt right, is it in DNS?");
    }
  }

  private void releases(CoordinatorConfig config) {
    config
        .releases()
        .ifPresent(
            folder -> {
              if (Files.exists(folder.resolve("SHA256SUMS"))) {
                diagnosis.ok("releases", folder + " has SHA256SUMS");
              } else {
                diagnosis.warn(
                    "releases",
                    folder + " has no SHA256SUMS: no machine can join; deploy/release makes both");
              }
            });
  }
}
