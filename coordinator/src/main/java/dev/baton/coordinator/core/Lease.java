package dev.baton.coordinator.core;

import java.util.LinkedHashSet;
import java.util.List;

/**
 * The right of workers to run a job, as it is stored. Its deadline is not: renewals stay in memory.
 *
 * @param term the fencing token: raised by one with each new lease of the job
 * @param leaseId random
 * @param members who runs which replica, by rank; a worker may run several
 */
public record Lease(long term, String leaseId, List<Member> members) {

  /**
   * Who runs one replica.
   *
   * @param workerId random per start of the worker
   * @param workerName a label
   */
  public record Member(String workerId, String workerName) {}

  public Lease {
    members = List.copyOf(members);
    if (members.isEmpty()) {
      throw new IllegalArgumentException("a lease of nobody");
    }
  }

  /** Of one replica. */
  public Lease(long term, String leaseId, String workerId, String workerName) {
    this(term, leaseId, List.of(new Member(workerId, workerName)));
  }

  /** One for each replica, by rank. */
  public List<String> workerIds() {
    return members.stream().map(Member::workerId).toList();
  }

  /** One for each replica, by rank. */
  public List<String> workerNames() {
    return members.stream().map(Member::workerName).toList();
  }

  /** For people: each worker once. */
  String on() {
    return String.join(", ", new LinkedHashSet<>(workerNames()));
  }
}
