package dev.baton.coordinator.housekeeping;

import com.google.protobuf.ByteString;
import dev.baton.coordinator.core.ArtifactRecord;
import dev.baton.coordinator.core.ObjectKeys;
import dev.baton.coordinator.core.ObjectStore;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.Reads;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.Stores;
import dev.baton.coordinator.loop.CoreLoop;
import dev.baton.v1.MetricPoint;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import java.util.stream.Collectors;

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

  private record Drafts(ByteString metrics, ByteString log) {
    static final Drafts NONE = new Drafts(ByteString.EMPTY, ByteString.EMPTY);
  }

  /** The reports that are still to be recorded; their objects are in the store. */
  private List<ArtifactRecord> missing(String jobId) {
    Drafts drafts = reads.read(all -> drafts(all, jobId));
    List<ArtifactRecord> made = new ArrayList<>();
    try {
      put(jobId, METRICS, drafts.metrics(), made);
      put(jobId, LOG, drafts.log(), made);
    } catch (ObjectStoreException e) {
      throw new CompletionException(e);
    }
    return made;
  }

  private static Drafts drafts(Stores all, String jobId) {
    if (all.jobs().find(jobId).filter(job -> job.state().ended()).isEmpty()) {
      return Drafts.NONE;
    }
    Set<String> there =
        all.jobs().artifacts(jobId).stream().map(ArtifactRecord::name).collect(Collectors.toSet());
    return new Drafts(
        there.contains(METRICS) ? ByteString.EMPTY : metricsCsv(all.jobs().metrics(jobId)),
        there.contains(LOG) ? ByteString.EMPTY : log(all, jobId));
  }

  private void put(String jobId, String name, ByteString report, List<ArtifactRecord> made)
      throws ObjectStoreException {
    if (!report.isEmpty()) {
      byte[] bytes = report.toByteArray();
      // One key for each report: a repeated write replaces, and leaves nothing to be swept.
      String key = reportKey(jobId, name);
      objects.put(key, bytes);
      made.add(new ArtifactRecord(jobId, name, bytes.length, sha256(bytes), key, 0));
    }
  }

  // Not of the form that the sweep takes: uploads know nothing of reports.
  private static String reportKey(String jobId, String name) {
    return ObjectKeys.jobPrefix(jobId) + "reports/" + name;
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

  private static ByteString metricsCsv(List<MetricPoint> points) {
    if (points.isEmpty()) {
      return ByteString.EMPTY;
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
    return ByteString.copyFromUtf8(csv.toString());
  }

  private static ByteString log(Stores all, String jobId) {
    ByteString log = ByteString.EMPTY;
    ByteString piece;
    do {
      piece = all.logs().read(jobId, log.size(), 1 << 20);
      log = log.concat(piece);
    } while (!piece.isEmpty());
    return log;
  }

  private static String sha256(byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }
}
