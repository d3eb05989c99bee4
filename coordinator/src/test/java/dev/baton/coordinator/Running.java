package dev.baton.coordinator;

import dev.baton.coordinator.config.CertificateFiles;
import dev.baton.coordinator.config.CoordinatorConfig;
import dev.baton.coordinator.config.DataDir;
import dev.baton.coordinator.config.Encryption;
import dev.baton.coordinator.config.FileConfig;
import dev.baton.coordinator.core.LeasePolicy;
import dev.baton.rpc.Channels;
import dev.baton.rpc.HostPort;
import dev.baton.v1.AdminServiceGrpc;
import dev.baton.v1.CreateTokenRequest;
import dev.baton.v1.DatasetServiceGrpc;
import dev.baton.v1.JobServiceGrpc;
import dev.baton.v1.WorkerServiceGrpc;
import io.grpc.ManagedChannel;
import io.grpc.ServerServiceDefinition;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** A coordinator in this process, on ports of its own, with leases short enough for tests. */
final class Running implements AutoCloseable {
  static final LeasePolicy LEASES =
      new LeasePolicy(Duration.ofMillis(200), Duration.ofMillis(1_500), Duration.ofMillis(300));

  private final DataDir dataDir;
  private final Coordinator coordinator;
  private final List<ManagedChannel> channels = new ArrayList<>();
  private final ManagedChannel admin;

  Running(Path dir) throws IOException {
    this(dir, Encryption.WHERE_NEEDED);
  }

  Running(Path dir, Encryption encryption) throws IOException {
    this(dir, encryption, Optional.empty());
  }

  Running(Path dir, Encryption encryption, Optional<CertificateFiles> certificate)
      throws IOException {
    dataDir = DataDir.open(dir);
    HostPort any = new HostPort("127.0.0.1", 0);
    coordinator =
        Coordinator.start(
            new CoordinatorConfig(
                dir,
                any,
                any,
                any,
                Optional.empty(),
                Optional.empty(),
                new FileConfig(Optional.empty(), LEASES, Optional.empty()),
                encryption,
                certificate),
            dataDir,
            InstantSource.system(),
            () -> {});
    admin = channel(Files.readString(dir.resolve("admin.token")).strip());
  }

  ManagedChannel channel(String token) {
    ManagedChannel channel = Channels.open(address(), token);
    channels.add(channel);
    return channel;
  }

  String address() {
    return coordinator.grpcAddress().toString();
  }

  HostPort http() {
    return coordinator.httpAddress();
  }

  List<ServerServiceDefinition> services() {
    return coordinator.services();
  }

  ManagedChannel adminChannel() {
    return admin;
  }

  /** A channel with a token of this role. */
  ManagedChannel as(String role) {
    return channel(
        admin().createToken(CreateTokenRequest.newBuilder().setRole(role).build()).getToken());
  }

  AdminServiceGrpc.AdminServiceBlockingStub admin() {
    return AdminServiceGrpc.newBlockingStub(admin);
  }

  JobServiceGrpc.JobServiceBlockingStub jobs() {
    return JobServiceGrpc.newBlockingStub(admin);
  }

  DatasetServiceGrpc.DatasetServiceBlockingStub datasets() {
    return DatasetServiceGrpc.newBlockingStub(admin);
  }

  WorkerServiceGrpc.WorkerServiceBlockingStub workers() {
    return WorkerServiceGrpc.newBlockingStub(admin);
  }

  @Override
  public void close() throws IOException {
    coordinator.close();
    channels.forEach(ManagedChannel::shutdownNow);
    dataDir.close();
  }
}
