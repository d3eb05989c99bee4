package dev.baton.worker.trainer;

import java.time.Duration;

/**
 * A replica's place in a group.
 *
 * @param storeHost where rank 0 listens for the others, by a name or address that they reach
 * @param storePort there; rank 0 may say 0 and learn which one is free
 * @param rank of this replica, from 0
 * @param size replicas in the group
 * @param address of this machine under which the other ranks reach it
 * @param backend what carries the tensors
 * @param timeout after which a member that does not answer breaks the group; also to form it
 */
public record Membership(
    String storeHost,
    int storePort,
    int rank,
    int size,
    String address,
    Backend backend,
    Duration timeout) {

  /** c10d's backends. */
  public enum Backend {
    /** Over TCP; tensors on a GPU go through page-locked host memory. */
    GLOO,
    /** From GPU to GPU. */
    NCCL
  }

  public Membership {
    if (size < 1 || rank < 0 || rank >= size) {
      throw new IllegalArgumentException("rank " + rank + " of a group of " + size);
    }
    if (storePort < 0 || storePort > 65535 || (storePort == 0 && rank != 0)) {
      throw new IllegalArgumentException("rank " + rank + " was given the port " + storePort);
    }
  }
}
