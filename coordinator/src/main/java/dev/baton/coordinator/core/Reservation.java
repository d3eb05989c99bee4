package dev.baton.coordinator.core;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Room that is kept for a gang until all of it is free. Jobs before it in the queue may use it all
 * the same; later ones only what it leaves.
 *
 * @param seq the gang's place in the queue
 * @param needs of each of its replicas
 * @param replicas how many are to run where, by worker
 */
record Reservation(String jobId, long seq, Requirements needs, Map<String, Integer> replicas) {

  /** For these workers; one that is to run several replicas stands there several times. */
  static Reservation of(Waiting job, List<Worker> ranks) {
    Map<String, Integer> replicas = new LinkedHashMap<>();
    ranks.forEach(worker -> replicas.merge(worker.id, 1, Integer::sum));
    return new Reservation(job.jobId(), job.seq(), job.needs(), replicas);
  }

  /** How many replicas are to run on a worker. */
  int on(String workerId) {
    return replicas.getOrDefault(workerId, 0);
  }
}
