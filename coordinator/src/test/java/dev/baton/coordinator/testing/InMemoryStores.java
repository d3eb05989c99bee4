package dev.baton.coordinator.testing;

import com.google.protobuf.ByteString;
import dev.baton.coordinator.core.ArtifactRecord;
import dev.baton.coordinator.core.Attempt;
import dev.baton.coordinator.core.CheckpointRecord;
import dev.baton.coordinator.core.DatasetRecord;
import dev.baton.coordinator.core.DatasetStore;
import dev.baton.coordinator.core.Fence;
import dev.baton.coordinator.core.Job;
import dev.baton.coordinator.core.JobState;
import dev.baton.coordinator.core.JobStore;
import dev.baton.coordinator.core.LogPosition;
import dev.baton.coordinator.core.LogStore;
import dev.baton.coordinator.core.StoreException;
import dev.baton.coordinator.core.Stores;
import dev.baton.coordinator.core.Transactions;
import dev.baton.coordinator.core.Upload;
import dev.baton.coordinator.core.UploadStore;
import dev.baton.v1.MetricPoint;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Stores in memory, with transactions: what is not committed is lost by {@link #rollback}, and by a
 * crash, which is the same. A disk that is full can be played.
 */
public final class InMemoryStores implements Transactions {

  /** A row as a transaction left it, and as it was before; null where there was none. */
  public record Change(@Nullable Object before, @Nullable Object after) {}

  private record PointKey(String series, long step) implements Comparable<PointKey> {
    private static final Comparator<PointKey> ORDER =
        Comparator.comparing(PointKey::series).thenComparingLong(PointKey::step);

    @Override
    public int compareTo(PointKey other) {
      return ORDER.compare(this, other);
    }
  }

  private record AttemptKey(String jobId, long term) {}

  private final Map<String, Job> jobs = new HashMap<>();
  private final TreeMap<Long, String> bySeq = new TreeMap<>();
  private final Map<String, String> byRequest = new HashMap<>();
  private final Map<AttemptKey, Attempt> attempts = new HashMap<>();
  private final Map<String, TreeMap<Long, CheckpointRecord>> checkpoints = new HashMap<>();
  private final Map<String, TreeMap<PointKey, MetricPoint>> metrics = new HashMap<>();
  private final Map<String, TreeMap<String, ArtifactRecord>> artifacts = new HashMap<>();
  private final Map<String, Upload> uploads = new HashMap<>();
  private final TreeMap<String, DatasetRecord> datasets = new TreeMap<>();
  private final Map<AttemptKey, ByteString> logs = new HashMap<>();

  private final Deque<Runnable> undo = new ArrayDeque<>();
  private List<Change> changes = new ArrayList<>();
  private Consumer<List<Change>> audit = c -> {};
  private Consumer<Change> watch = c -> {};
  private boolean open;
  private boolean full;

  public Stores stores() {
    return new Stores(new Jobs(), new Uploads(), new Datasets(), new Logs());
  }

  /** Sees the changes of each transaction once it is committed. */
  public void audit(Consumer<List<Change>> audit) {
    this.audit = audit;
  }

  /** Sees each change as it is written, be it committed or not. */
  public void watch(Consumer<Change> watch) {
    this.watch = watch;
  }

  /** While full, no transaction that has written can be committed. */
  public void full(boolean full) {
    this.full = full;
  }

  @Override
  public void begin() {
    if (open) {
      throw new IllegalStateException("a transaction is open");
    }
    open = true;
  }

  @Override
  public void commit() {
    if (full && !undo.isEmpty()) {
      throw new StoreException(true, "the disk is full", null);
    }
    open = false;
    undo.clear();
    List<Change> committed = changes;
    changes = new ArrayList<>();
    audit.accept(committed);
  }

  @Override
  public void rollback() {
    open = false;
    while (!undo.isEmpty()) {
      undo.pop().run();
    }
    changes.clear();
  }

  private <K, V> void put(Map<K, V> map, K key, V value) {
    writable();
    V before = map.put(key, value);
    changed(new Change(before, value));
    undo.push(
        () -> {
          if (before == null) {
            map.remove(key);
          } else {
            map.put(key, before);
          }
        });
  }

  private <K, V> void remove(Map<K, V> map, K key) {
    writable();
    V before = map.remove(key);
    if (before != null) {
      changed(new Change(before, null));
      undo.push(() -> map.put(key, before));
    }
  }

  private void changed(Change change) {
    changes.add(change);
    watch.accept(change);
  }

  private void writable() {
    if (!open) {
      throw new IllegalStateException("a write outside a transaction");
    }
  }

  private final class Jobs implements JobStore {
    @Override
    public boolean insert(Job job) {
      if (byRequest.containsKey(job.submission().requestId())) {
        return false;
      }
      put(byRequest, job.submission().requestId(), job.id());
      put(bySeq, job.submission().seq(), job.id());
      put(jobs, job.id(), job);
      return true;
    }

    @Override
    public Optional<Job> find(String jobId) {
      return Optional.ofNullable(jobs.get(jobId));
    }

    @Override
    public Optional<Job> findByRequest(String requestId) {
      return Optional.ofNullable(byRequest.get(requestId)).map(jobs::get);
    }

    @Override
    public List<Job> list(Set<JobState> states, int limit) {
      return bySeq.descendingMap().values().stream()
          .map(InMemoryStores.this.jobs::get)
          .filter(job -> states.contains(job.state()))
          .limit(limit)
          .toList();
    }

    @Override
    public void forEachUnfinished(Consumer<Job> each) {
      for (String id : bySeq.values()) {
        Job job = jobs.get(id);
        if (job != null && !job.state().ended()) {
          each.accept(job);
        }
      }
    }

    @Override
    public long lastSeq() {
      return bySeq.isEmpty() ? 0 : bySeq.lastKey();
    }

    @Override
    public boolean update(Job next, Fence expected) {
      Job job = jobs.get(expected.jobId());
      if (job == null || !job.fence().equals(expected)) {
        return false;
      }
      put(jobs, next.id(), next);
      return true;
    }

    @Override
    public void insertAttempt(Attempt attempt) {
      put(attempts, new AttemptKey(attempt.jobId(), attempt.lease().term()), attempt);
    }

    @Override
    public void updateAttempt(Attempt attempt) {
      insertAttempt(attempt);
    }

    @Override
    public Optional<Attempt> attempt(String jobId, long term) {
      return Optional.ofNullable(attempts.get(new AttemptKey(jobId, term)));
    }

    @Override
    public List<Attempt> attempts(String jobId) {
      List<Attempt> list = new ArrayList<>();
      Job job = jobs.get(jobId);
      for (long term = 1; job != null && term <= job.term(); term++) {
        attempt(jobId, term).ifPresent(list::add);
      }
      return list;
    }

    @Override
    public void insertCheckpoint(CheckpointRecord checkpoint) {
      put(
          checkpoints.computeIfAbsent(checkpoint.jobId(), j -> new TreeMap<>()),
          checkpoint.step(),
          checkpoint);
    }

    @Override
    public void deleteCheckpoint(CheckpointRecord checkpoint) {
      remove(checkpoints.getOrDefault(checkpoint.jobId(), new TreeMap<>()), checkpoint.step());
    }

    @Override
    public List<CheckpointRecord> checkpoints(String jobId) {
      return List.copyOf(checkpoints.getOrDefault(jobId, new TreeMap<>()).values());
    }

    @Override
    public void putMetrics(String jobId, List<MetricPoint> points) {
      TreeMap<PointKey, MetricPoint> map = metrics.computeIfAbsent(jobId, j -> new TreeMap<>());
      for (MetricPoint point : points) {
        put(map, new PointKey(point.getSeries(), point.getStep()), point);
      }
    }

    @Override
    public void deleteMetricsBeyond(String jobId, long step) {
      TreeMap<PointKey, MetricPoint> map = metrics.getOrDefault(jobId, new TreeMap<>());
      for (PointKey key : List.copyOf(map.keySet())) {
        if (key.step() > step) {
          remove(map, key);
        }
      }
    }

    @Override
    public void forEachMetric(String jobId, Consumer<MetricPoint> each) {
      metrics.getOrDefault(jobId, new TreeMap<>()).values().forEach(each);
    }

    @Override
    public void putArtifact(ArtifactRecord artifact) {
      put(
          artifacts.computeIfAbsent(artifact.jobId(), j -> new TreeMap<>()),
          artifact.name(),
          artifact);
    }

    @Override
    public List<ArtifactRecord> artifacts(String jobId) {
      return List.copyOf(artifacts.getOrDefault(jobId, new TreeMap<>()).values());
    }

    @Override
    public Optional<ArtifactRecord> artifact(String jobId, String name) {
      return Optional.ofNullable(artifacts.getOrDefault(jobId, new TreeMap<>()).get(name));
    }
  }

  private final class Uploads implements UploadStore {
    @Override
    public void insert(Upload upload) {
      put(upload);
    }

    @Override
    public Optional<Upload> find(String uploadId) {
      return Optional.ofNullable(uploads.get(uploadId));
    }

    @Override
    public void setMultipartId(String uploadId, String multipartId) {
      find(uploadId).ifPresent(u -> put(with(u, multipartId, u.referredAtMs(), u.state())));
    }

    @Override
    public void setState(String uploadId, Upload.State state) {
      find(uploadId).ifPresent(u -> put(with(u, u.multipartId(), u.referredAtMs(), state)));
    }

    @Override
    public void setReferredAt(String uploadId, long atMs) {
      find(uploadId).ifPresent(u -> put(with(u, u.multipartId(), atMs, u.state())));
    }

    private void put(Upload upload) {
      InMemoryStores.this.put(uploads, upload.uploadId(), upload);
    }

    private Upload with(Upload u, String multipartId, long referredAtMs, Upload.State state) {
      return new Upload(
          u.uploadId(),
          u.jobId(),
          u.term(),
          u.objectKey(),
          multipartId,
          u.content(),
          referredAtMs,
          state);
    }

    @Override
    public void discardKey(String objectKey) {
      uploads.values().stream()
          .filter(u -> u.objectKey().equals(objectKey))
          .findFirst()
          .ifPresent(u -> setState(u.uploadId(), Upload.State.DISCARDED));
    }

    @Override
    public boolean knowsKey(String objectKey) {
      return uploads.values().stream().anyMatch(u -> u.objectKey().equals(objectKey));
    }

    @Override
    public List<Upload> sweepable(long openBeforeMs, int limit) {
      return uploads.values().stream()
          .filter(
              u ->
                  u.state() == Upload.State.DISCARDED
                      || u.state() == Upload.State.EXPIRED
                      || (u.state() == Upload.State.OPEN
                          && (ofOlderTerm(u)
                              || (u.referredAtMs() < openBeforeMs && !ofLeasedTerm(u)))))
          .sorted(Comparator.comparingLong(Upload::referredAtMs))
          .limit(limit)
          .toList();
    }

    private boolean ofOlderTerm(Upload upload) {
      Job job = jobs.get(upload.jobId());
      return job != null && upload.term() < job.term();
    }

    private boolean ofLeasedTerm(Upload upload) {
      Job job = jobs.get(upload.jobId());
      return job != null && job.lease() != null && upload.term() == job.term();
    }

    @Override
    public void delete(String uploadId) {
      remove(uploads, uploadId);
    }
  }

  private final class Datasets implements DatasetStore {
    @Override
    public void insert(DatasetRecord dataset) {
      put(datasets, dataset.dataset().getName(), dataset);
    }

    @Override
    public Optional<DatasetRecord> find(String name) {
      return Optional.ofNullable(datasets.get(name));
    }

    @Override
    public List<DatasetRecord> list() {
      return List.copyOf(datasets.values());
    }

    @Override
    public void delete(String name) {
      remove(datasets, name);
    }
  }

  private final class Logs implements LogStore {
    private ByteString whole(String jobId) {
      ByteString whole = ByteString.EMPTY;
      Job job = jobs.get(jobId);
      for (long term = 1; job != null && term <= job.term(); term++) {
        whole = whole.concat(logs.getOrDefault(new AttemptKey(jobId, term), ByteString.EMPTY));
      }
      return whole;
    }

    @Override
    public LogPosition end(String jobId, long term) {
      ByteString own = logs.getOrDefault(new AttemptKey(jobId, term), ByteString.EMPTY);
      return new LogPosition(own.size(), whole(jobId).size());
    }

    @Override
    public void append(String jobId, long term, LogPosition at, ByteString data) {
      if (!at.equals(end(jobId, term))) {
        throw new IllegalStateException("job " + jobId + ": log piece at " + at);
      }
      AttemptKey key = new AttemptKey(jobId, term);
      put(logs, key, logs.getOrDefault(key, ByteString.EMPTY).concat(data));
    }

    @Override
    public ByteString read(String jobId, long offset, int limit) {
      ByteString whole = whole(jobId);
      int from = (int) Math.min(offset, whole.size());
      return whole.substring(from, Math.min(whole.size(), from + limit));
    }
  }
}
