package dev.baton.client.connection;

import io.grpc.ManagedChannel;

/** Opens channels. */
@FunctionalInterface
public interface Connector {
  ManagedChannel open(Settings settings);
}
