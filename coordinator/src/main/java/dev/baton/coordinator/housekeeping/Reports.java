package dev.baton.coordinator.housekeeping;

import com.google.protobuf.ByteString;
import dev.baton.coordinator.core.ArtifactRecord;
import dev.baton.coordinator.core.Job;
import dev.baton.coordinator.core.ObjectKeys;
import dev.baton.coordinator.core.ObjectStore;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.Reads;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.Stores;
import dev.baton.coordinator.loop.CoreLoop;
import dev.baton.v1.MetricPoint;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;

/**
 * Writes what an ended job leaves beside its model: {@code metrics.csv} and {@code train.log}, from
 * the database. Where there is nothing to write there is no report. Done when the job ends, and
 * again by whoever asks for the artifacts before that is through; so a crash in between loses
 * nothing.
 */
public final class Reports {
  private static final String METRICS = "metrics.csv";
  private static final String LOG = "train.log";

  private final CoreLoop<Scheduler> loop;
  private final Stores stores;
  private final Reads reads;
  private final ObjectStore objects;
  private final Executor blocking;
  private final ConcurrentHashMap<String, CompletableFuture<Void>> writing =
      new ConcurrentHashMap<>();

  /**
   * @param stores of the connection that writes
   */
  public Reports(
      CoreLoop<Scheduler> loop,
      Stores stores,
      Reads reads,
      ObjectStore objects,
      Executor blocking) {
    this.loop = loop;
    this.stores = stores;
    this.reads = reads;
    this.objects = objects;
    this.blocking = blocking;
  }

  /** Completes once the job's reports are among its artifacts, or it has not ended yet. */
  public CompletableFuture<Void> write(String jobId) {
    var promise = new CompletableFuture<Void>();
    CompletableFuture<Void> other = writing.putIfAbsent(jobId, promise);
    if (other != null) {
      return other;
    }
    var unused =
        CompletableFuture.supplyAsync(() -> missing(jobId), blocking)
            .thenCompose(this::store)
            .whenComplete(
                (done, failure) -> {
                  writing.remove(jobId, promise);
                  if (failure != null) {
                    promise.completeExceptionally(failure);
                  } else {
                    promise.complete(null);
                  }
                });
    return promise;
  }

  /** The reports that are still to be recorded; their objects are in the store. */
  private List<ArtifactRecord> missing(String jobId) {
    List<ArtifactRecord> made = new ArrayList<>();
    byte[] metrics =
        reads.read(
            all ->
                isDue(all, jobId, METRICS) ? metricsCsv(all.jobs().metrics(jobId)) : new byte[0]);
    byte[] log = reads.read(all -> isDue(all, jobId, LOG) ? log(all, jobId) : new byte[0]);
    try {
      put(jobId, METRICS, metrics, made);
      put(jobId, LOG, log, made);
    } catch (ObjectStoreException e) {
      throw new CompletionException(e);
    }
    return made;
  }

  private static boolean isDue(Stores all, String jobId, String name) {
    return all.jobs().find(jobId).map(Job::state).filter(state -> state.ended()).isPresent()
        && all.jobs().artifact(jobId, name).isEmpty();
  }

  private void put(String jobId, String name, byte[] bytes, List<ArtifactRecord> made)
      throws ObjectStoreException {
    if (bytes.length > 0) {
      // One key for each report: a repeated write replaces, and leaves nothing to be swept.
      String key = reportKey(jobId, name);
      objects.put(key, bytes);
      made.add(new ArtifactRecord(jobId, name, bytes.length, sha256(bytes), key, 0));
    }
  }

  private static String reportKey(String jobId, String name) {
    return ObjectKeys.jobPrefix(jobId) + "reports/" + name;
  }

  /** Whether an object is a report: uploads know nothing of it. */
  static boolean isReport(String key) {
    return key.matches("jobs/[^/]+/reports/[^/]+");
  }

  private CompletableFuture<Void> store(List<ArtifactRecord> made) {
    if (made.isEmpty()) {
      return CompletableFuture.completedFuture(null);
    }
    return loop.submit(
        (core, now) -> {
          for (ArtifactRecord report : made) {
            stores
                .jobs()
                .putArtifact(
                    new ArtifactRecord(
                        report.jobId(),
                        report.name(),
                        report.bytes(),
                        report.sha256(),
                        report.objectKey(),
                        now.epochMs()));
          }
          return null;
        });
  }

  private static byte[] metricsCsv(List<MetricPoint> points) {
    if (points.isEmpty()) {
      return new byte[0];
    }
    var csv = new StringBuilder("series,step,value,time_ms\n");
    for (MetricPoint point : points) {
      csv.append(point.getSeries())
          .append(',')
          .append(point.getStep())
          .append(',')
          .append(point.getValue())
          .append(',')
          .append(point.getTimeMs())
          .append('\n');
    }
    return csv.toString().getBytes(StandardCharsets.UTF_8);
  }

  private static byte[] log(Stores all, String jobId) {
    ByteString log = ByteString.EMPTY;
    ByteString piece;
    do {
      piece = all.logs().read(jobId, log.size(), 1 << 20);
      log = log.concat(piece);
    } while (!piece.isEmpty());
    return log.toByteArray();
  }

  private static String sha256(byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }
}
