package dev.baton.coordinator.store;

import dev.baton.coordinator.core.ArtifactRecord;
import dev.baton.coordinator.core.Attempt;
import dev.baton.coordinator.core.CheckpointRecord;
import dev.baton.coordinator.core.End;
import dev.baton.coordinator.core.Failures;
import dev.baton.coordinator.core.Fence;
import dev.baton.coordinator.core.Job;
import dev.baton.coordinator.core.JobState;
import dev.baton.coordinator.core.JobStore;
import dev.baton.coordinator.core.KindHistory;
import dev.baton.coordinator.core.Lease;
import dev.baton.coordinator.core.Submission;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.JobSpec;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Progress;
import dev.baton.v1.Result;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Jobs and what belongs to them, in SQL. */
final class JdbcJobStore implements JobStore {
  private static final String SELECT =
      "SELECT id, seq, request_id, spec, spec_digest, created_at_ms, state, term, reason, lease_id,"
          + " worker_id, worker_name, retried, abrupt_in_a_row, not_before_ms, kind_first,"
          + " kind_machine, kind_changed, progress, ended_at_ms, result FROM job ";

  private final Sql sql;

  JdbcJobStore(Sql sql) {
    this.sql = sql;
  }

  @Override
  public boolean insert(Job job) {
    Submission submission = job.submission();
    int inserted =
        sql.update(
            """
            INSERT INTO job (seq, id, request_id, spec, spec_digest, created_at_ms, state, term,
              lease_id, worker_id, worker_name, retried, abrupt_in_a_row, not_before_ms,
              kind_first, kind_machine, kind_changed, reason, progress, ended_at_ms, result)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (request_id) DO NOTHING
            """,
            concat(
                new Object[] {
                  submission.seq(),
                  job.id(),
                  submission.requestId(),
                  submission.spec().toByteArray(),
                  submission.specDigest(),
                  submission.createdAtMs()
                },
                mutable(job)));
    return inserted == 1;
  }

  @Override
  public boolean update(Job next, Fence expected) {
    int changed =
        sql.update(
            """
            UPDATE job SET state = ?, term = ?, lease_id = ?, worker_id = ?, worker_name = ?,
              retried = ?, abrupt_in_a_row = ?, not_before_ms = ?, kind_first = ?,
              kind_machine = ?, kind_changed = ?, reason = ?, progress = ?, ended_at_ms = ?,
              result = ?
            WHERE id = ? AND term = ? AND lease_id = ?
            """,
            concat(
                mutable(next),
                new Object[] {expected.jobId(), expected.term(), expected.leaseId()}));
    if (changed > 1) {
      throw new IllegalStateException(changed + " rows have the id " + expected.jobId());
    }
    return changed == 1;
  }

  /** The columns from state on, in the order of both statements above. */
  private static @Nullable Object[] mutable(Job job) {
    Lease lease = job.lease();
    End end = job.end();
    Result result = end == null ? null : end.result();
    return new @Nullable Object[] {
      job.state().name(),
      job.term(),
      lease == null ? "" : lease.leaseId(),
      lease == null ? "" : Lines.join(lease.workerIds()),
      lease == null ? "" : Lines.join(lease.workerNames()),
      job.failures().retried(),
      job.failures().abruptInARow(),
      job.failures().notBeforeMs(),
      job.kind().first(),
      job.kind().machine(),
      job.kind().changed(),
      job.reason(),
      job.progress().toByteArray(),
      end == null ? 0L : end.atMs(),
      result == null ? null : result.toByteArray()
    };
  }

  private static @Nullable Object[] concat(@Nullable Object[] a, @Nullable Object[] b) {
    @Nullable Object[] both = new @Nullable Object[a.length + b.length];
    System.arraycopy(a, 0, both, 0, a.length);
    System.arraycopy(b, 0, both, a.length, b.length);
    return both;
  }

  /**
   * The columns of {@link #SELECT} by place: by name costs as much again, and a start reads every
   * waiting job.
   */
  private static Job readJob(ResultSet row) throws SQLException {
    String id = row.getString(1);
    var submission =
        new Submission(
            row.getLong(2),
            row.getString(3),
            Protos.parse(JobSpec.parser(), row.getBytes(4)),
            row.getString(5),
            row.getLong(6));
    JobState state = JobState.valueOf(row.getString(7));
    long term = row.getLong(8);
    String reason = row.getString(9);
    if (term == 0 && state == JobState.QUEUED) {
      // Nothing has happened to it yet.
      return new Job(
          id,
          submission,
          state,
          term,
          null,
          Failures.NONE,
          KindHistory.NONE,
          reason,
          Progress.getDefaultInstance(),
          null);
    }
    String leaseId = row.getString(10);
    byte @Nullable [] result = row.getBytes(21);
    return new Job(
        id,
        submission,
        state,
        term,
        leaseId.isEmpty() ? null : lease(term, leaseId, row.getString(11), row.getString(12)),
        new Failures(row.getInt(13), row.getInt(14), row.getLong(15)),
        new KindHistory(row.getString(16), row.getString(17), row.getInt(18) != 0),
        reason,
        Protos.parse(Progress.parser(), row.getBytes(19)),
        state.ended()
            ? new End(
                row.getLong(20), result == null ? null : Protos.parse(Result.parser(), result))
            : null);
  }

  /** A lease as its columns have it: a line for each member, by rank. */
  private static Lease lease(long term, String leaseId, String workerIds, String workerNames) {
    String[] names = workerNames.split("\n", -1);
    List<String> ids = Lines.split(workerIds);
    var members = new ArrayList<Lease.Member>();
    for (int rank = 0; rank < ids.size(); rank++) {
      members.add(new Lease.Member(ids.get(rank), names[rank]));
    }
    return new Lease(term, leaseId, members);
  }

  @Override
  public Optional<Job> find(String jobId) {
    return sql.first(SELECT + "WHERE id = ?", JdbcJobStore::readJob, jobId);
  }

  @Override
  public Optional<Job> findByRequest(String requestId) {
    return sql.first(SELECT + "WHERE request_id = ?", JdbcJobStore::readJob, requestId);
  }

  @Override
  public List<Job> list(Set<JobState> states, int limit) {
    if (states.size() == JobState.values().length) {
      return sql.list(SELECT + "ORDER BY seq DESC LIMIT ?", JdbcJobStore::readJob, limit);
    }
    // One walk along the index for each state: an IN would sort every job that matches.
    var jobs = new ArrayList<Job>();
    for (JobState state : states) {
      jobs.addAll(
          sql.list(
              SELECT + "WHERE state = ? ORDER BY seq DESC LIMIT ?",
              JdbcJobStore::readJob,
              state.name(),
              limit));
    }
    jobs.sort(Comparator.comparingLong((Job job) -> job.submission().seq()).reversed());
    return jobs.size() <= limit ? jobs : List.copyOf(jobs.subList(0, limit));
  }

  @Override
  public void forEachUnfinished(Consumer<Job> each) {
    sql.forEach(
        SELECT + "WHERE state IN ('QUEUED', 'RUNNING', 'PAUSING', 'PAUSED') ORDER BY seq",
        JdbcJobStore::readJob,
        each);
  }

  @Override
  public long lastSeq() {
    return sql.first("SELECT coalesce(max(seq), 0) FROM job", row -> row.getLong(1)).orElse(0L);
  }

  /** How many jobs are in each state that has any. */
  Map<JobState, Long> countByState() {
    var counts = new EnumMap<JobState, Long>(JobState.class);
    sql.list(
            "SELECT state, count(*) FROM job GROUP BY state",
            row -> Map.entry(JobState.valueOf(row.getString(1)), row.getLong(2)))
        .forEach(entry -> counts.put(entry.getKey(), entry.getValue()));
    return counts;
  }

  @Override
  public void insertAttempt(Attempt attempt) {
    sql.update(
        """
        INSERT INTO attempt (workers, started_at_ms, ended_at_ms, end_reason, outcome,
          resumed_step, first_step, last_step, kind, lease_id, worker_id, worker_name, job_id, term)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        columns(attempt));
  }

  @Override
  public void updateAttempt(Attempt attempt) {
    sql.update(
        """
        UPDATE attempt SET workers = ?, started_at_ms = ?, ended_at_ms = ?, end_reason = ?,
          outcome = ?, resumed_step = ?, first_step = ?, last_step = ?, kind = ?, lease_id = ?,
          worker_id = ?, worker_name = ?
        WHERE job_id = ? AND term = ?
        """,
        columns(attempt));
  }

  private static Object[] columns(Attempt attempt) {
    return new Object[] {
      // The column says no more than worker_name does; an older release reads it.
      Lines.join(attempt.lease().workerNames()),
      attempt.startedAtMs(),
      attempt.endedAtMs(),
      attempt.endReason(),
      attempt.outcome().getNumber(),
      attempt.resumedStep(),
      attempt.firstStep(),
      attempt.lastStep(),
      attempt.kind(),
      attempt.lease().leaseId(),
      Lines.join(attempt.lease().workerIds()),
      Lines.join(attempt.lease().workerNames()),
      attempt.jobId(),
      attempt.lease().term()
    };
  }

  private static Attempt readAttempt(ResultSet row) throws SQLException {
    AttemptOutcome outcome = AttemptOutcome.forNumber(row.getInt("outcome"));
    return new Attempt(
        row.getString("job_id"),
        lease(
            row.getLong("term"),
            row.getString("lease_id"),
            row.getString("worker_id"),
            row.getString("worker_name")),
        row.getLong("started_at_ms"),
        row.getLong("ended_at_ms"),
        row.getString("end_reason"),
        outcome == null ? AttemptOutcome.UNRECOGNIZED : outcome,
        row.getLong("resumed_step"),
        row.getLong("first_step"),
        row.getLong("last_step"),
        row.getString("kind"));
  }

  @Override
  public Optional<Attempt> attempt(String jobId, long term) {
    return sql.first(
        "SELECT * FROM attempt WHERE job_id = ? AND term = ?",
        JdbcJobStore::readAttempt,
        jobId,
        term);
  }

  @Override
  public List<Attempt> attempts(String jobId) {
    return sql.list(
        "SELECT * FROM attempt WHERE job_id = ? ORDER BY term", JdbcJobStore::readAttempt, jobId);
  }

  @Override
  public void insertCheckpoint(CheckpointRecord checkpoint) {
    sql.update(
        """
        INSERT INTO checkpoint (job_id, id, term, step, bytes, sha256, object_key, committed_at_ms)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        """,
        checkpoint.jobId(),
        checkpoint.id(),
        checkpoint.term(),
        checkpoint.step(),
        checkpoint.bytes(),
        checkpoint.sha256(),
        checkpoint.objectKey(),
        checkpoint.committedAtMs());
  }

  @Override
  public void deleteCheckpoint(CheckpointRecord checkpoint) {
    sql.update(
        "DELETE FROM checkpoint WHERE job_id = ? AND id = ?", checkpoint.jobId(), checkpoint.id());
  }

  @Override
  public List<CheckpointRecord> checkpoints(String jobId) {
    return sql.list(
        "SELECT * FROM checkpoint WHERE job_id = ? ORDER BY step, committed_at_ms, id",
        row ->
            new CheckpointRecord(
                row.getString("id"),
                row.getString("job_id"),
                row.getLong("term"),
                row.getLong("step"),
                row.getLong("bytes"),
                row.getString("sha256"),
                row.getString("object_key"),
                row.getLong("committed_at_ms")),
        jobId);
  }

  @Override
  public void putMetrics(String jobId, List<MetricPoint> points) {
    for (MetricPoint point : points) {
      sql.update(
          """
          INSERT INTO metric_point (job_id, series, step, value, time_ms) VALUES (?, ?, ?, ?, ?)
          ON CONFLICT (job_id, series, step) DO UPDATE
          SET value = excluded.value, time_ms = excluded.time_ms
          """,
          jobId,
          point.getSeries(),
          point.getStep(),
          Double.isNaN(point.getValue()) ? null : (Object) point.getValue(),
          point.getTimeMs());
    }
  }

  @Override
  public void deleteMetricsBeyond(String jobId, long step) {
    sql.update("DELETE FROM metric_point WHERE job_id = ? AND step > ?", jobId, step);
  }

  @Override
  public void forEachMetric(String jobId, Consumer<MetricPoint> each) {
    // Points by the thousand share each series' name.
    String[] series = {""};
    sql.forEach(
        "SELECT series, step, value, time_ms FROM metric_point WHERE job_id = ?"
            + " ORDER BY series, step",
        row -> {
          double stored = row.getDouble("value");
          // Asked at once: it speaks of the column read last.
          double value = row.wasNull() ? Double.NaN : stored;
          String name = row.getString("series");
          if (!name.equals(series[0])) {
            series[0] = name;
          }
          return MetricPoint.newBuilder()
              .setSeries(series[0])
              .setStep(row.getLong("step"))
              .setValue(value)
              .setTimeMs(row.getLong("time_ms"))
              .build();
        },
        each,
        jobId);
  }

  @Override
  public void putArtifact(ArtifactRecord artifact) {
    sql.update(
        """
        INSERT INTO artifact (job_id, name, bytes, sha256, object_key, created_at_ms)
        VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (job_id, name) DO UPDATE SET bytes = excluded.bytes, sha256 = excluded.sha256,
          object_key = excluded.object_key, created_at_ms = excluded.created_at_ms
        """,
        artifact.jobId(),
        artifact.name(),
        artifact.bytes(),
        artifact.sha256(),
        artifact.objectKey(),
        artifact.createdAtMs());
  }

  private static ArtifactRecord readArtifact(ResultSet row) throws SQLException {
    return new ArtifactRecord(
        row.getString("job_id"),
        row.getString("name"),
        row.getLong("bytes"),
        row.getString("sha256"),
        row.getString("object_key"),
        row.getLong("created_at_ms"));
  }

  @Override
  public List<ArtifactRecord> artifacts(String jobId) {
    return sql.list(
        "SELECT * FROM artifact WHERE job_id = ? ORDER BY name", JdbcJobStore::readArtifact, jobId);
  }

  @Override
  public Optional<ArtifactRecord> artifact(String jobId, String name) {
    return sql.first(
        "SELECT * FROM artifact WHERE job_id = ? AND name = ?",
        JdbcJobStore::readArtifact,
        jobId,
        name);
  }
}
