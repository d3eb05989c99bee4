package dev.baton.coordinator.core;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Jobs that wait, in the order of submission. Those with equal requirements form a lane: where its
 * first job finds no worker, none behind it does, so no event costs a walk over the jobs.
 */
final class WaitingQueue {

  /** Jobs with equal requirements that may be offered now. */
  static final class Lane {
    final Requirements needs;
    private final TreeMap<Long, Waiting> jobs = new TreeMap<>();

    Lane(Requirements needs) {
      this.needs = needs;
    }

    Waiting first() {
      return jobs.firstEntry().getValue();
    }

    boolean isEmpty() {
      return jobs.isEmpty();
    }
  }

  private final Map<String, Waiting> byJob = new HashMap<>();
  private final Map<Requirements, Lane> lanes = new HashMap<>();

  /** Lanes whose first job was not tried yet. */
  private final Set<Lane> fresh = new HashSet<>();

  /** Adds a job that may be offered, or must wait for its time first. */
  void add(Waiting waiting, long nowNanos) {
    remove(waiting.jobId());
    byJob.put(waiting.jobId(), waiting);
    if (waiting.notBeforeNanos() <= nowNanos) {
      open(waiting);
    }
  }

  /** A job's wait may be over; puts it into its lane then. */
  void ring(String jobId, long nowNanos) {
    Waiting waiting = byJob.get(jobId);
    if (waiting != null && waiting.notBeforeNanos() <= nowNanos) {
      open(waiting);
    }
  }

  private void open(Waiting waiting) {
    // One Requirements object for all jobs of a lane: a hundred thousand may wait.
    Lane lane = lanes.computeIfAbsent(waiting.needs(), Lane::new);
    if (lane.isEmpty() || waiting.seq() <= lane.first().seq()) {
      fresh.add(lane);
    }
    lane.jobs.put(waiting.seq(), waiting);
  }

  void remove(String jobId) {
    Waiting waiting = byJob.remove(jobId);
    if (waiting == null) {
      return;
    }
    Lane lane = lanes.get(waiting.needs());
    if (lane != null && lane.jobs.remove(waiting.seq()) != null) {
      fresh.add(lane);
      if (lane.isEmpty()) {
        lanes.remove(lane.needs);
        fresh.remove(lane);
      }
    }
  }

  @Nullable Waiting find(String jobId) {
    return byJob.get(jobId);
  }

  int size() {
    return byJob.size();
  }

  /** Every lane with a job to offer, the one with the oldest first. */
  List<Lane> lanes() {
    return sorted(lanes.values());
  }

  /** The lanes whose first job is new; they count as tried from here on. */
  List<Lane> takeFresh() {
    if (fresh.isEmpty()) {
      return List.of();
    }
    List<Lane> taken = sorted(fresh);
    fresh.clear();
    return taken;
  }

  void clear() {
    byJob.clear();
    lanes.clear();
    fresh.clear();
  }

  private static List<Lane> sorted(Iterable<Lane> lanes) {
    List<Lane> sorted = new ArrayList<>();
    lanes.forEach(sorted::add);
    sorted.sort(Comparator.comparingLong(lane -> lane.first().seq()));
    return sorted;
  }
}
