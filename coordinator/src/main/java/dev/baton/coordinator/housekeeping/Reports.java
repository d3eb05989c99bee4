package dev.baton.coordinator.housekeeping;

import com.google.protobuf.ByteString;
import dev.baton.coordinator.core.ArtifactRecord;
import dev.baton.coordinator.core.ObjectKeys;
import dev.baton.coordinator.core.ObjectStore;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.ObjectStoreException.Kind;
import dev.baton.coordinator.core.Reads;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.Stores;
import dev.baton.coordinator.loop.CoreLoop;
import dev.baton.v1.MetricPoint;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.OutputStreamWriter;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import java.util.stream.Stream;

/**
 * Writes what an ended job leaves beside its model: {@code metrics.csv} and {@code train.log}, from
 * the database. Where there is nothing to write there is no report. Done when the job ends, and
 * again by whoever asks for the artifacts before that is through; so a crash in between loses
 * nothing.
 */
public final class Reports {
  private static final String METRICS = "metrics.csv";
  private static final String LOG = "train.log";
  private static final int LOG_PIECE = 1 << 20;

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
    try {
      for (String name : reads.read(all -> lacking(all, jobId))) {
        put(jobId, name).ifPresent(made::add);
      }
    } catch (ObjectStoreException e) {
      throw new CompletionException(e);
    }
    return made;
  }

  private static List<String> lacking(Stores all, String jobId) {
    if (all.jobs().find(jobId).filter(job -> job.state().ended()).isEmpty()) {
      return List.of();
    }
    return Stream.of(METRICS, LOG)
        .filter(name -> all.jobs().artifact(jobId, name).isEmpty())
        .toList();
  }

  // By way of a file: a long job's points are more than memory holds.
  private Optional<ArtifactRecord> put(String jobId, String name) throws ObjectStoreException {
    try {
      // Asked for each time: the coordinator sets it after the JVM's start, to a folder of its own.
      Path drafts = Path.of(System.getProperty("java.io.tmpdir"));
      Path draft = Files.createTempFile(drafts, "report", "");
      try {
        MessageDigest digest = sha256();
        try (var out =
            new DigestOutputStream(
                new BufferedOutputStream(Files.newOutputStream(draft), 1 << 16), digest)) {
          if (name.equals(METRICS)) {
            writeMetrics(jobId, out);
          } else {
            writeLog(jobId, out);
          }
        }
        long bytes = Files.size(draft);
        if (bytes == 0) {
          return Optional.empty();
        }
        // One key for each report: a repeated write replaces, and leaves nothing to be swept.
        String key = reportKey(jobId, name);
        String sha256 = HexFormat.of().formatHex(digest.digest());
        objects.put(key, draft.toFile(), sha256);
        return Optional.of(new ArtifactRecord(jobId, name, bytes, sha256, key, 0));
      } finally {
        Files.deleteIfExists(draft);
      }
    } catch (ObjectStoreException e) {
      throw e;
    } catch (IOException | UncheckedIOException e) {
      throw new ObjectStoreException(
          Kind.UNAVAILABLE,
          "job %s: its %s cannot be written on the coordinator's disk: %s"
              .formatted(jobId, name, e.getMessage()),
          e);
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

  private void writeMetrics(String jobId, OutputStream out) throws IOException {
    var csv = new OutputStreamWriter(out, StandardCharsets.UTF_8);
    boolean[] any = {false};
    reads.read(
        all -> {
          all.jobs().forEachMetric(jobId, point -> writeLine(csv, point, any));
          return any;
        });
    csv.flush();
  }

  private static void writeLine(Writer csv, MetricPoint point, boolean[] any) {
    try {
      if (!any[0]) {
        csv.write("series,step,value,time_ms\n");
        any[0] = true;
      }
      csv.write(
          point.getSeries()
              + ','
              + point.getStep()
              + ','
              + point.getValue()
              + ','
              + point.getTimeMs()
              + '\n');
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void writeLog(String jobId, OutputStream out) throws IOException {
    long written = 0;
    ByteString piece;
    do {
      long offset = written;
      piece = reads.read(all -> all.logs().read(jobId, offset, LOG_PIECE));
      piece.writeTo(out);
      written += piece.size();
    } while (!piece.isEmpty());
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }
}
