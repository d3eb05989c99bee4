package dev.baton.worker.trainer;

import dev.baton.worker.data.Replica;
import java.time.Duration;

/**
 * A replica's place in a group.
 *
 * @param storeHost where rank 0 listens for the others, by a name or address that they reach
 * @param storePort there; on rank 0 the first that it may listen at, or 0 for any that is free
 * @param lastPort on rank 0 the last that it may listen at
 * @param replica its rank, and how many there are
 * @param address of this machine under which the other ranks reach it
 * @param backend what carries the tensors
 * @param forming how long the others may take to connect
 * @param timeout after which a member that does not answer breaks the group
 */
public record Membership(
    String storeHost,
    int storePort,
    int lastPort,
    Replica replica,
    String address,
    Backend backend,
    Duration forming,
    Duration timeout) {
  private static final int MOST = 65535;

  /** c10d's backends. */
  public enum Backend {
    /** Over TCP; tensors on a GPU go through page-locked host memory. */
    GLOO,
    /** From GPU to GPU. */
    NCCL
  }

  public Membership {
    boolean right =
        replica.rank() == 0
            ? storePort >= 0 && lastPort >= storePort && lastPort <= MOST
            : storePort > 0 && storePort <= MOST;
    if (!right) {
      throw new IllegalArgumentException(
          "rank %d was given the ports %d to %d".formatted(replica.rank(), storePort, lastPort));
    }
  }

  /** One that takes as long to form as its members may be silent, at a port or any that is free. */
  public Membership(
      String storeHost,
      int storePort,
      Replica replica,
      String address,
      Backend backend,
      Duration timeout) {
    this(storeHost, storePort, storePort, replica, address, backend, timeout, timeout);
  }

  /** The same with a time-out that is no longer. */
  public Membership silentAtMost(Duration longest) {
    return timeout.compareTo(longest) <= 0
        ? this
        : new Membership(
            storeHost, storePort, lastPort, replica, address, backend, forming, longest);
  }

  public int rank() {
    return replica.rank();
  }

  public int size() {
    return replica.size();
  }
}
