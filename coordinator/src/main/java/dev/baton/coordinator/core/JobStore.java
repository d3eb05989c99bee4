package dev.baton.coordinator.core;

import dev.baton.v1.MetricPoint;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;

/**
 * Jobs and what belongs to them. Called by the core's thread alone, inside its transaction (see
 * {@link Transactions}): it sees its own writes. Methods throw the store's unchecked exceptions
 * where the database fails; then nothing of the transaction counts.
 */
public interface JobStore {

  /** Stores a new job; false, and nothing stored, where its request id is taken. */
  boolean insert(Job job);

  Optional<Job> find(String jobId);

  Optional<Job> findByRequest(String requestId);

  /** Newest first. */
  List<Job> list(Set<JobState> states, int limit);

  /** Every job that has not ended, in the order of submission, one at a time. */
  void forEachUnfinished(Consumer<Job> each);

  /** The largest {@link Submission#seq} there is; 0 where there is none. */
  long lastSeq();

  /**
   * Replaces everything of the job but its submission, provided that the fence still holds: {@code
   * UPDATE ... WHERE id = ? AND term = ? AND lease_id = ?}.
   *
   * @return false where it does not: an expected result
   * @throws IllegalStateException where more than one row changed
   */
  boolean update(Job next, Fence expected);

  void insertAttempt(Attempt attempt);

  /** Replaces the attempt of (job, term). */
  void updateAttempt(Attempt attempt);

  Optional<Attempt> attempt(String jobId, long term);

  /** By term. */
  List<Attempt> attempts(String jobId);

  void insertCheckpoint(CheckpointRecord checkpoint);

  void deleteCheckpoint(CheckpointRecord checkpoint);

  /** By step, oldest first. */
  List<CheckpointRecord> checkpoints(String jobId);

  /** Stores points; one that is there already (same series and step) is replaced. */
  void putMetrics(String jobId, List<MetricPoint> points);

  /** Deletes every point beyond a step. */
  void deleteMetricsBeyond(String jobId, long step);

  /** By (series, step), one at a time: a long job has more of them than memory holds. */
  void forEachMetric(String jobId, Consumer<MetricPoint> each);

  /** By (series, step), all at once. */
  default List<MetricPoint> metrics(String jobId) {
    List<MetricPoint> points = new ArrayList<>();
    forEachMetric(jobId, points::add);
    return points;
  }

  /** Stores an artifact; one of the same name is replaced. */
  void putArtifact(ArtifactRecord artifact);

  /** By name. */
  List<ArtifactRecord> artifacts(String jobId);

  Optional<ArtifactRecord> artifact(String jobId, String name);
}
