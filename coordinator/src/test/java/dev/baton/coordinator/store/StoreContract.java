package dev.baton.coordinator.store;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.protobuf.ByteString;
import dev.baton.coordinator.core.ArtifactRecord;
import dev.baton.coordinator.core.Attempt;
import dev.baton.coordinator.core.CheckpointRecord;
import dev.baton.coordinator.core.DatasetRecord;
import dev.baton.coordinator.core.End;
import dev.baton.coordinator.core.Failures;
import dev.baton.coordinator.core.Fence;
import dev.baton.coordinator.core.Job;
import dev.baton.coordinator.core.JobState;
import dev.baton.coordinator.core.JobStore;
import dev.baton.coordinator.core.KindHistory;
import dev.baton.coordinator.core.Lease;
import dev.baton.coordinator.core.LogPosition;
import dev.baton.coordinator.core.LogStore;
import dev.baton.coordinator.core.Stores;
import dev.baton.coordinator.core.Submission;
import dev.baton.coordinator.core.Transactions;
import dev.baton.coordinator.core.Upload;
import dev.baton.coordinator.core.UploadStore;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import dev.baton.v1.JobSpec;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Progress;
import dev.baton.v1.Result;
import dev.baton.v1.UploadContent;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What every implementation of the core's stores must do. */
abstract class StoreContract {
  /** What is under test, empty. */
  record Subject(Transactions transactions, Stores stores) {}

  private Subject subject;
  private Stores stores;
  private JobStore jobs;

  abstract Subject open();

  abstract void close();

  @BeforeEach
  void begin() {
    subject = open();
    stores = subject.stores();
    jobs = stores.jobs();
    subject.transactions().begin();
  }

  @AfterEach
  void end() {
    subject.transactions().rollback();
    close();
  }

  private void commitAndBegin() {
    subject.transactions().commit();
    subject.transactions().begin();
  }

  static Job job(long seq) {
    return Job.submitted(
        "job-" + seq,
        new Submission(
            seq,
            "request-" + seq,
            JobSpec.newBuilder().setName("name-" + seq).build(),
            "digest",
            1_000 + seq));
  }

  private static Job running(Job job, long term) {
    return new Job(
        job.id(),
        job.submission(),
        JobState.RUNNING,
        term,
        new Lease(term, "lease-" + term, "worker-id", "worker"),
        new Failures(2, 3, 4_000),
        new KindHistory("kind", "machine", true),
        "because",
        Progress.newBuilder().setStep(7).setLoss(0.5).build(),
        null);
  }

  private static Job succeeded(Job job, long term) {
    return new Job(
        job.id(),
        job.submission(),
        JobState.SUCCEEDED,
        term,
        null,
        Failures.NONE,
        KindHistory.NONE,
        "",
        Progress.getDefaultInstance(),
        new End(9_000, Result.newBuilder().setWeightsSha256("ab").putMetrics("loss", 1).build()));
  }

  @Test
  void findsAJobByIdAndByRequest() {
    assertThat(jobs.insert(job(1))).isTrue();
    commitAndBegin();
    assertThat(jobs.find("job-1")).contains(job(1));
    assertThat(jobs.findByRequest("request-1")).contains(job(1));
    assertThat(jobs.find("job-2")).isEmpty();
    assertThat(jobs.findByRequest("job-1")).isEmpty();
    assertThat(jobs.lastSeq()).isEqualTo(1);
  }

  @Test
  void storesARequestOnce() {
    jobs.insert(job(1));
    Job second =
        Job.submitted(
            "job-2", new Submission(2, "request-1", JobSpec.getDefaultInstance(), "other", 5));
    assertThat(jobs.insert(second)).isFalse();
    assertThat(jobs.find("job-2")).isEmpty();
  }

  @Test
  void rollsBack() {
    jobs.insert(job(1));
    commitAndBegin();
    jobs.insert(job(2));
    jobs.update(running(job(1), 1), job(1).fence());
    subject.transactions().rollback();
    subject.transactions().begin();
    assertThat(jobs.find("job-2")).isEmpty();
    assertThat(jobs.find("job-1")).contains(job(1));
  }

  @Test
  void updatesEverythingButTheSubmission() {
    jobs.insert(job(1));
    Job running = running(job(1), 1);
    assertThat(jobs.update(running, job(1).fence())).isTrue();
    assertThat(jobs.find("job-1")).contains(running);
    Job succeeded = succeeded(job(1), 1);
    assertThat(jobs.update(succeeded, running.fence())).isTrue();
    assertThat(jobs.find("job-1")).contains(succeeded);
  }

  @Test
  void refusesAnUpdateBehindAnotherFence() {
    jobs.insert(job(1));
    Job running = running(job(1), 2);
    assertThat(jobs.update(running, job(1).fence())).isTrue();
    for (Fence stale :
        List.of(
            new Fence("job-1", 1, "lease-2"),
            new Fence("job-1", 2, "lease-1"),
            new Fence("job-1", 2, ""),
            new Fence("job-9", 2, "lease-2"))) {
      assertThat(jobs.update(succeeded(job(1), 2), stale)).isFalse();
    }
    assertThat(jobs.find("job-1")).contains(running);
  }

  @Test
  void listsNewestFirst() {
    for (long seq = 1; seq <= 5; seq++) {
      jobs.insert(job(seq));
    }
    jobs.update(running(job(2), 1), job(2).fence());
    jobs.update(succeeded(job(4), 0), job(4).fence());
    assertThat(jobs.list(EnumSet.allOf(JobState.class), 3))
        .extracting(Job::id)
        .containsExactly("job-5", "job-4", "job-3");
    assertThat(jobs.list(EnumSet.of(JobState.SUCCEEDED, JobState.RUNNING), 10))
        .extracting(Job::id)
        .containsExactly("job-4", "job-2");
    assertThat(jobs.list(EnumSet.of(JobState.QUEUED, JobState.SUCCEEDED), 2))
        .extracting(Job::id)
        .containsExactly("job-5", "job-4");
    assertThat(jobs.list(EnumSet.of(JobState.PAUSED), 2)).isEmpty();
    assertThat(jobs.list(EnumSet.noneOf(JobState.class), 2)).isEmpty();
  }

  @Test
  void walksUnfinishedJobsInOrder() {
    for (long seq = 1; seq <= 4; seq++) {
      jobs.insert(job(seq));
    }
    jobs.update(running(job(1), 1), job(1).fence());
    jobs.update(succeeded(job(3), 0), job(3).fence());
    var ids = new ArrayList<String>();
    jobs.forEachUnfinished(job -> ids.add(job.id()));
    assertThat(ids).containsExactly("job-1", "job-2", "job-4");
  }

  @Test
  void keepsAttempts() {
    jobs.insert(job(1));
    jobs.update(running(job(1), 2), job(1).fence());
    Attempt first = Attempt.granted("job-1", new Lease(1, "a", "id", "w"), 10);
    Attempt second = Attempt.granted("job-1", new Lease(2, "b", "id2", "w2"), 20);
    jobs.insertAttempt(second);
    jobs.insertAttempt(first);
    Attempt ended =
        new Attempt(
            "job-1",
            first.lease(),
            10,
            15,
            "lease expired",
            AttemptOutcome.ATTEMPT_OUTCOME_KILLED,
            0,
            1,
            7,
            "kind");
    jobs.updateAttempt(ended);
    assertThat(jobs.attempts("job-1")).containsExactly(ended, second);
    assertThat(jobs.attempt("job-1", 2)).contains(second);
    assertThat(jobs.attempt("job-1", 3)).isEmpty();
    assertThat(jobs.attempts("job-2")).isEmpty();
  }

  @Test
  void keepsTheMembersOfALeaseByRank() {
    jobs.insert(job(1));
    Lease lease =
        new Lease(
            1,
            "lease",
            List.of(
                new Lease.Member("id-b", "b"),
                new Lease.Member("id-a", ""),
                new Lease.Member("id-b", "b")));
    Job running =
        new Job(
            "job-1",
            job(1).submission(),
            JobState.RUNNING,
            1,
            lease,
            Failures.NONE,
            KindHistory.NONE,
            "",
            Progress.getDefaultInstance(),
            null);
    jobs.update(running, job(1).fence());
    Attempt attempt = Attempt.granted("job-1", lease, 10);
    jobs.insertAttempt(attempt);
    commitAndBegin();
    assertThat(jobs.find("job-1")).contains(running);
    assertThat(jobs.attempt("job-1", 1)).contains(attempt);
  }

  @Test
  void keepsCheckpointsByStep() {
    var late = new CheckpointRecord("b", "job-1", 1, 20, 5, "sha", "key-b", 3);
    var early = new CheckpointRecord("c", "job-1", 1, 9, 5, "sha", "key-c", 2);
    jobs.insertCheckpoint(late);
    jobs.insertCheckpoint(early);
    assertThat(jobs.checkpoints("job-1")).containsExactly(early, late);
    jobs.deleteCheckpoint(early);
    assertThat(jobs.checkpoints("job-1")).containsExactly(late);
  }

  private static MetricPoint point(String series, long step, double value) {
    return MetricPoint.newBuilder()
        .setSeries(series)
        .setStep(step)
        .setValue(value)
        .setTimeMs(step * 10)
        .build();
  }

  @Test
  void keepsOnePointForASeriesAndStep() {
    jobs.putMetrics(
        "job-1",
        List.of(
            point("train/loss", 100, 3), point("eval/loss", 100, 2), point("train/loss", 50, 4)));
    jobs.putMetrics(
        "job-1", List.of(point("train/loss", 100, 1), point("train/loss", 150, Double.NaN)));
    assertThat(jobs.metrics("job-1"))
        .containsExactly(
            point("eval/loss", 100, 2),
            point("train/loss", 50, 4),
            point("train/loss", 100, 1),
            point("train/loss", 150, Double.NaN));
    jobs.deleteMetricsBeyond("job-1", 50);
    assertThat(jobs.metrics("job-1")).containsExactly(point("train/loss", 50, 4));
    assertThat(jobs.metrics("job-2")).isEmpty();
  }

  @Test
  void keepsInfiniteValues() {
    jobs.putMetrics("job-1", List.of(point("train/loss", 1, Double.POSITIVE_INFINITY)));
    assertThat(jobs.metrics("job-1"))
        .containsExactly(point("train/loss", 1, Double.POSITIVE_INFINITY));
  }

  @Test
  void replacesAnArtifactOfTheSameName() {
    var old = new ArtifactRecord("job-1", "model.pth", 1, "a", "k1", 1);
    var replaced = new ArtifactRecord("job-1", "model.pth", 2, "b", "k2", 2);
    var other = new ArtifactRecord("job-1", "metrics.csv", 3, "c", "k3", 3);
    jobs.putArtifact(old);
    jobs.putArtifact(replaced);
    jobs.putArtifact(other);
    assertThat(jobs.artifacts("job-1")).containsExactly(other, replaced);
    assertThat(jobs.artifact("job-1", "model.pth")).contains(replaced);
    assertThat(jobs.artifact("job-1", "x")).isEmpty();
  }

  @Test
  void readsALogFromAnywhere() {
    jobs.insert(job(1));
    jobs.update(running(job(1), 4), job(1).fence());
    LogStore logs = stores.logs();
    assertThat(logs.end("job-1", 1)).isEqualTo(new LogPosition(0, 0));
    logs.append("job-1", 1, new LogPosition(0, 0), ByteString.copyFromUtf8("hello "));
    logs.append("job-1", 1, new LogPosition(6, 6), ByteString.copyFromUtf8("world\n"));
    logs.append("job-1", 3, new LogPosition(0, 12), ByteString.copyFromUtf8("again\n"));
    assertThat(logs.end("job-1", 1)).isEqualTo(new LogPosition(12, 18));
    assertThat(logs.end("job-1", 3)).isEqualTo(new LogPosition(6, 18));
    assertThat(logs.end("job-1", 4)).isEqualTo(new LogPosition(0, 18));
    String whole = "hello world\nagain\n";
    for (int from = 0; from <= whole.length() + 1; from++) {
      for (int limit : new int[] {1, 7, 100}) {
        int begin = Math.min(from, whole.length());
        assertThat(logs.read("job-1", from, limit).toStringUtf8())
            .isEqualTo(whole.substring(begin, Math.min(whole.length(), begin + limit)));
      }
    }
    assertThat(logs.read("job-2", 0, 10)).isEmpty();
  }

  @Test
  void keepsDatasets() {
    Dataset dataset =
        Dataset.newBuilder()
            .setName("mnist")
            .setDigest("d1")
            .addFiles(DatasetFile.newBuilder().setPath("a"))
            .addFiles(DatasetFile.newBuilder().setPath("b"))
            .build();
    var record = new DatasetRecord(dataset, List.of("k1", "k2"));
    var empty =
        new DatasetRecord(Dataset.newBuilder().setName("a").setDigest("d2").build(), List.of());
    stores.datasets().insert(record);
    stores.datasets().insert(empty);
    assertThat(stores.datasets().find("mnist")).contains(record);
    assertThat(stores.datasets().list()).containsExactly(empty, record);
    stores.datasets().delete("mnist");
    assertThat(stores.datasets().find("mnist")).isEmpty();
  }

  private static Upload upload(String id, String jobId, long term, long atMs) {
    return new Upload(
        id,
        jobId,
        term,
        "key-" + id,
        "",
        UploadContent.newBuilder().setBytes(3).setSha256("x").build(),
        atMs,
        Upload.State.OPEN);
  }

  @Test
  void sweepsOnlyWhatNothingNeeds() {
    UploadStore uploads = stores.uploads();
    jobs.insert(job(1));
    jobs.update(running(job(1), 2), job(1).fence());
    jobs.insert(job(2));
    uploads.insert(upload("old-term", "job-1", 1, 900));
    uploads.insert(upload("this-term", "job-1", 2, 901));
    uploads.insert(upload("of-a-lease", "job-1", 2, 10));
    uploads.insert(upload("old-of-old-term", "job-1", 1, 13));
    uploads.insert(upload("not-leased", "job-2", 0, 14));
    uploads.insert(upload("of-no-job", "job-3", 1, 15));
    uploads.insert(upload("expired", "job-1", 2, 904));
    uploads.insert(upload("kept", "job-1", 1, 11));
    uploads.insert(upload("discarded", "job-1", 2, 902));
    uploads.insert(upload("dataset", "", 0, 903));
    uploads.insert(upload("dataset-old", "", 0, 12));
    uploads.setState("kept", Upload.State.KEPT);
    uploads.setState("discarded", Upload.State.DISCARDED);
    uploads.setState("expired", Upload.State.EXPIRED);
    uploads.insert(upload("dataset-asked-for-again", "", 0, 12));
    uploads.setReferredAt("dataset-asked-for-again", 100);
    assertThat(uploads.sweepable(100, 10))
        .extracting(Upload::uploadId)
        .containsExactlyInAnyOrder(
            "dataset-old",
            "old-of-old-term",
            "not-leased",
            "of-no-job",
            "old-term",
            "discarded",
            "expired");
    assertThat(uploads.sweepable(100, 2)).hasSize(2);
    uploads.delete("discarded");
    assertThat(uploads.find("discarded")).isEmpty();
  }

  @Test
  void remembersAMultipartUpload() {
    stores.uploads().insert(upload("u", "job-1", 1, 1));
    stores.uploads().setMultipartId("u", "multi");
    assertThat(stores.uploads().find("u")).get().extracting(Upload::multipartId).isEqualTo("multi");
  }
}
