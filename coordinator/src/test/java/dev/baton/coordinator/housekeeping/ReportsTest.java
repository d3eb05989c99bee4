package dev.baton.coordinator.housekeeping;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.coordinator.core.ArtifactRecord;
import dev.baton.coordinator.core.End;
import dev.baton.coordinator.core.Failures;
import dev.baton.coordinator.core.Job;
import dev.baton.coordinator.core.JobState;
import dev.baton.coordinator.core.KindHistory;
import dev.baton.coordinator.core.LeasePolicy;
import dev.baton.coordinator.core.Now;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.Submission;
import dev.baton.coordinator.loop.CoreLoop;
import dev.baton.coordinator.objectstore.EmbeddedS3;
import dev.baton.coordinator.store.Readers;
import dev.baton.coordinator.store.SqliteDatabase;
import dev.baton.coordinator.testing.QuietBinding;
import dev.baton.rpc.HostPort;
import dev.baton.v1.JobSpec;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Progress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** In a process of its own, whose heap would not hold the points. */
final class ReportsTest {
  private static final int POINTS = 400_000;
  private static final int BATCH = 10_000;

  @TempDir Path dir;

  @Test
  @Timeout(120)
  void aLongJobsPointsAreWrittenInLittleMemory() throws Exception {
    Path output = dir.resolve("output");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx40m",
                "-XX:+UseSerialGC",
                "-cp",
                System.getProperty("java.class.path"),
                ReportsTest.class.getName(),
                dir.toString())
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    boolean ended = process.waitFor(100, TimeUnit.SECONDS);
    process.destroyForcibly();
    assertThat(ended).as(Files.readString(output)).isTrue();
    assertThat(process.exitValue()).as(Files.readString(output)).isZero();
    try (var lines = Files.lines(dir.resolve("objects/baton/jobs/j/reports/metrics.csv"))) {
      assertThat(lines.count()).isEqualTo(POINTS + 1);
    }
  }

  /** Makes a job with many points, and its reports. */
  public static void main(String[] args) throws Exception {
    Path dir = Path.of(args[0]);
    Path file = dir.resolve("coordinator.db");
    try (SqliteDatabase database = SqliteDatabase.open(file);
        Readers readers = new Readers(file);
        EmbeddedS3 objects =
            EmbeddedS3.start(
                dir, new HostPort("127.0.0.1", 0), Optional.empty(), InstantSource.system());
        CoreLoop<Scheduler> loop =
            new CoreLoop<>(
                database,
                new Scheduler(database.stores(), LeasePolicy.DEFAULT, new Random(1)),
                new QuietBinding(),
                () -> new Now(System.nanoTime(), 1),
                () -> {})) {
      fill(database);
      loop.start();
      new Reports(loop, database.stores(), readers, objects, Runnable::run)
          .write("j")
          .get(90, TimeUnit.SECONDS);
      List<String> names =
          readers.read(
              all -> all.jobs().artifacts("j").stream().map(ArtifactRecord::name).toList());
      if (!names.equals(List.of("metrics.csv"))) {
        throw new IllegalStateException("the job has " + names);
      }
    }
  }

  private static void fill(SqliteDatabase database) {
    Job job =
        Job.submitted("j", new Submission(1, "request", JobSpec.getDefaultInstance(), "digest", 1));
    database.begin();
    var unused = database.stores().jobs().insert(job);
    unused =
        database
            .stores()
            .jobs()
            .update(
                new Job(
                    "j",
                    job.submission(),
                    JobState.SUCCEEDED,
                    1,
                    null,
                    Failures.NONE,
                    KindHistory.NONE,
                    "",
                    Progress.getDefaultInstance(),
                    new End(5, null)),
                job.fence());
    List<MetricPoint> batch = new ArrayList<>();
    for (int step = 1; step <= POINTS; step++) {
      batch.add(MetricPoint.newBuilder().setSeries("train/loss").setStep(step).build());
      if (batch.size() == BATCH) {
        database.stores().jobs().putMetrics("j", batch);
        batch.clear();
      }
    }
    database.commit();
  }
}
