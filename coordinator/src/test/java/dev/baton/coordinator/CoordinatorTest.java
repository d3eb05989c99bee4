package dev.baton.coordinator;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.protobuf.ByteString;
import dev.baton.transfer.Contents;
import dev.baton.transfer.HttpObjectTransfer;
import dev.baton.transfer.ObjectTransfer;
import dev.baton.transfer.TransferListener;
import dev.baton.v1.AppendLogRequest;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.BuiltinModel;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CommitDatasetRequest;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.CreateDatasetUploadRequest;
import dev.baton.v1.CreateDownloadRequest;
import dev.baton.v1.CreateTokenRequest;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.Data;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import dev.baton.v1.DatasetFormat;
import dev.baton.v1.DatasetSplit;
import dev.baton.v1.DeleteDatasetRequest;
import dev.baton.v1.DownloadArtifactRequest;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.GetDatasetRequest;
import dev.baton.v1.GetJobRequest;
import dev.baton.v1.Job;
import dev.baton.v1.JobEvent;
import dev.baton.v1.JobRequest;
import dev.baton.v1.JobSpec;
import dev.baton.v1.JobState;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.ListJobsRequest;
import dev.baton.v1.ListWorkersRequest;
import dev.baton.v1.LogChunk;
import dev.baton.v1.Loss;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Model;
import dev.baton.v1.NewArtifact;
import dev.baton.v1.Offer;
import dev.baton.v1.Optimizer;
import dev.baton.v1.Progress;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.Result;
import dev.baton.v1.Sgd;
import dev.baton.v1.Source;
import dev.baton.v1.StreamLogsRequest;
import dev.baton.v1.SubmitJobRequest;
import dev.baton.v1.Synthetic;
import dev.baton.v1.SyntheticRegression;
import dev.baton.v1.Training;
import dev.baton.v1.UploadContent;
import dev.baton.v1.WorkerMessage;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Random;
import java.util.UUID;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A whole coordinator over loopback: real SQLite, real object store, a worker played by hand. */
final class CoordinatorTest {
  @TempDir Path temp;
  private Running running;
  private final ObjectTransfer transfer = new HttpObjectTransfer();

  @BeforeEach
  void start() throws Exception {
    running = new Running(temp.resolve("data"));
  }

  @AfterEach
  void stop() throws Exception {
    running.close();
  }

  private void restart() throws Exception {
    running.close();
    running = new Running(temp.resolve("data"));
  }

  static JobSpec spec() {
    return JobSpec.newBuilder()
        .setName("line")
        .setModel(Model.newBuilder().setBuiltin(BuiltinModel.newBuilder().setName("linear")))
        .setData(
            Data.newBuilder()
                .setTrain(
                    Source.newBuilder()
                        .setSynthetic(
                            Synthetic.newBuilder()
                                .setRegression(
                                    SyntheticRegression.newBuilder().setSamples(1_000)))))
        .setTraining(
            Training.newBuilder()
                .setEpochs(1)
                .setBatchSize(10)
                .setLoss(Loss.LOSS_MSE)
                .setOptimizer(Optimizer.newBuilder().setSgd(Sgd.newBuilder().setLr(0.01))))
        .build();
  }

  private String submit() {
    return submit(UUID.randomUUID().toString(), spec());
  }

  private String submit(String requestId, JobSpec spec) {
    return running
        .jobs()
        .submitJob(SubmitJobRequest.newBuilder().setRequestId(requestId).setSpec(spec).build())
        .getJobId();
  }

  private Job job(String id) {
    return running.jobs().getJob(GetJobRequest.newBuilder().setJobId(id).build());
  }

  private static JobRequest request(String id) {
    return JobRequest.newBuilder().setJobId(id).build();
  }

  private CompletedUpload upload(LeaseRef lease, byte[] bytes) throws Exception {
    Path file = Files.write(Files.createTempFile(temp, "object", ""), bytes);
    UploadContent content = Contents.describe(file);
    String id = UUID.randomUUID().toString();
    return transfer.upload(
        file,
        content,
        () ->
            running
                .workers()
                .createUpload(
                    CreateUploadRequest.newBuilder()
                        .setLease(lease)
                        .setUploadId(id)
                        .setContent(content)
                        .build()),
        TransferListener.NONE);
  }

  private void begin(LeaseRef lease, long resumedStep, String checkpointId) {
    var unused =
        running
            .workers()
            .beginAttempt(
                BeginAttemptRequest.newBuilder()
                    .setLease(lease)
                    .setResumedStep(resumedStep)
                    .setCheckpointId(checkpointId)
                    .setKind("cpu")
                    .setTotalSteps(100)
                    .build());
  }

  private CommitCheckpointRequest checkpoint(LeaseRef lease, long step, byte[] state)
      throws Exception {
    return CommitCheckpointRequest.newBuilder()
        .setLease(lease)
        .setUpload(upload(lease, state))
        .setStep(step)
        .addPoints(point(step))
        .build();
  }

  private static MetricPoint point(long step) {
    return MetricPoint.newBuilder()
        .setSeries("train/loss")
        .setStep(step)
        .setValue(1.0 / step)
        .setTimeMs(5)
        .build();
  }

  private static FinishAttemptRequest succeeded(LeaseRef lease) {
    return FinishAttemptRequest.newBuilder()
        .setLease(lease)
        .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED)
        .setLastStep(100)
        .setResult(Result.newBuilder().setWeightsSha256("abc").putMetrics("loss", 0.5))
        .addPoints(point(100))
        .build();
  }

  private byte[] artifact(String jobId, String name) throws Exception {
    Path file = temp.resolve(UUID.randomUUID().toString());
    transfer.download(
        () ->
            running
                .jobs()
                .downloadArtifact(
                    DownloadArtifactRequest.newBuilder().setJobId(jobId).setName(name).build()),
        file,
        TransferListener.NONE);
    return Files.readAllBytes(file);
  }

  private static void assertStatus(Status.Code code, String part, Runnable call) {
    assertThatThrownBy(call::run)
        .isInstanceOfSatisfying(
            StatusRuntimeException.class,
            e -> {
              assertThat(e.getStatus().getCode()).isEqualTo(code);
              assertThat(e.getStatus().getDescription()).contains(part).doesNotContain("\n");
            });
  }

  @Test
  void aJobIsLeasedCheckpointedAndFinished() throws Exception {
    FakeWorker worker = FakeWorker.connect(running.as("worker"), "one");
    assertThat(worker.await(CoordinatorMessage::hasWelcome).getWelcome().getLeaseMs())
        .isEqualTo(1_500);
    String id = submit();
    Iterator<JobEvent> events = running.jobs().watchJob(request(id));
    Offer offer = worker.offer();
    LeaseRef lease = offer.getLease();
    assertThat(offer.getAssignment().getJobId()).isEqualTo(id);
    assertThat(lease.getTerm()).isEqualTo(1);

    begin(lease, 0, "");
    worker.heartbeat(lease);
    assertThat(worker.await(CoordinatorMessage::hasHeartbeatReply).getHeartbeatReply())
        .satisfies(reply -> assertThat(reply.getRenewedList()).containsExactly(lease));
    worker.send(
        WorkerMessage.newBuilder()
            .setProgress(
                ProgressReport.newBuilder()
                    .setLease(lease)
                    .setFirstStep(1)
                    .setProgress(Progress.newBuilder().setStep(7).setLoss(0.5)))
            .build());

    byte[] state = new byte[100_000];
    new Random(1).nextBytes(state);
    CommitCheckpointRequest commit = checkpoint(lease, 50, state);
    String checkpointId = running.workers().commitCheckpoint(commit).getCheckpointId();
    assertThat(running.workers().commitCheckpoint(commit).getCheckpointId())
        .isEqualTo(checkpointId);
    assertThat(job(id).getCheckpointsList())
        .satisfiesExactly(
            c -> {
              assertThat(c.getStep()).isEqualTo(50);
              assertThat(c.getBytes()).isEqualTo(100_000);
              assertThat(c.getTerm()).isEqualTo(1);
            });

    Path restored = temp.resolve("restored");
    transfer.download(
        () ->
            running
                .workers()
                .createDownload(
                    CreateDownloadRequest.newBuilder()
                        .setWorkerId(worker.id)
                        .setJobId(id)
                        .setCheckpointId(checkpointId)
                        .build()),
        restored,
        TransferListener.NONE);
    assertThat(restored).hasBinaryContent(state);

    for (int i = 0; i < 2; i++) {
      assertThat(
              running
                  .workers()
                  .appendLog(
                      AppendLogRequest.newBuilder()
                          .setLease(lease)
                          .setOffset(0)
                          .setData(ByteString.copyFromUtf8("hello\n"))
                          .build())
                  .getNextOffset())
          .isEqualTo(6);
    }

    FinishAttemptRequest finish =
        succeeded(lease).toBuilder()
            .addArtifacts(
                NewArtifact.newBuilder()
                    .setName("model.pth")
                    .setUpload(upload(lease, new byte[] {1, 2, 3})))
            .build();
    for (int i = 0; i < 2; i++) {
      var unused = running.workers().finishAttempt(finish);
    }

    Job done = job(id);
    assertThat(done.getState()).isEqualTo(JobState.JOB_STATE_SUCCEEDED);
    assertThat(done.getResult().getWeightsSha256()).isEqualTo("abc");
    assertThat(done.getAttempts(0).getEndReason()).isEqualTo("succeeded");
    assertThat(running.jobs().getMetrics(request(id)).getPointsList())
        .containsExactly(point(50), point(100));
    assertThat(running.jobs().listArtifacts(request(id)).getArtifactsList())
        .extracting(a -> a.getName())
        .containsExactly("metrics.csv", "model.pth", "train.log");
    assertThat(artifact(id, "model.pth")).containsExactly(1, 2, 3);
    assertThat(new String(artifact(id, "train.log"), StandardCharsets.UTF_8)).isEqualTo("hello\n");
    assertThat(new String(artifact(id, "metrics.csv"), StandardCharsets.UTF_8))
        .isEqualTo("series,step,value,time_ms\ntrain/loss,50,0.02,5\ntrain/loss,100,0.01,5\n");

    List<JobEvent> seen = new ArrayList<>();
    events.forEachRemaining(seen::add);
    assertThat(seen.get(0).getEvent()).isEqualTo("state");
    assertThat(seen)
        .filteredOn(e -> e.getEvent().equals("step"))
        .extracting(JobEvent::getStep)
        .contains(7L);
    assertThat(seen.get(seen.size() - 1).getState()).isEqualTo(JobState.JOB_STATE_SUCCEEDED);
  }

  @Test
  void aTermThatIsOverIsAborted() throws Exception {
    FakeWorker first = FakeWorker.connect(running.as("worker"), "first");
    String id = submit();
    LeaseRef old = first.offer().getLease();
    begin(old, 0, "");
    CommitCheckpointRequest late = checkpoint(old, 10, new byte[] {1});
    FakeWorker second = FakeWorker.connect(running.as("worker"), "second");
    second.await(CoordinatorMessage::hasWelcome);
    first.hangUp();
    Offer next = heartbeatingUntilOffered(second);
    assertThat(next.getLease().getTerm()).isEqualTo(2);

    assertStatus(
        Status.Code.ABORTED, "term 1 is over", () -> running.workers().commitCheckpoint(late));
    assertStatus(
        Status.Code.ABORTED, "term 1", () -> running.workers().finishAttempt(succeeded(old)));
    assertStatus(
        Status.Code.ABORTED,
        "term 1",
        () ->
            running
                .workers()
                .appendLog(
                    AppendLogRequest.newBuilder()
                        .setLease(old)
                        .setData(ByteString.copyFromUtf8("x"))
                        .build()));
    assertThat(job(id).getCheckpointsList()).isEmpty();
    assertThat(job(id).getAttemptsList()).hasSize(2);
  }

  private static Offer heartbeatingUntilOffered(FakeWorker worker) throws Exception {
    while (true) {
      worker.heartbeat();
      CoordinatorMessage message = worker.await(m -> m.hasHeartbeatReply() || m.hasOffer());
      if (message.hasOffer()) {
        return message.getOffer();
      }
    }
  }

  @Test
  void aRestartLosesNothingAndEndsNoLease() throws Exception {
    var worker = FakeWorker.connect(running.as("worker"), "id-1", "one", 1, List.of());
    String id = submit();
    String waiting = submit();
    LeaseRef lease = worker.offer().getLease();
    begin(lease, 0, "");
    var unused = running.workers().commitCheckpoint(checkpoint(lease, 50, new byte[] {7}));
    restart();
    assertThat(worker.await(CoordinatorMessage::hasRestarting).hasRestarting()).isTrue();
    assertThat(job(id).getState()).isEqualTo(JobState.JOB_STATE_RUNNING);
    assertThat(job(waiting).getState()).isEqualTo(JobState.JOB_STATE_QUEUED);
    var again = FakeWorker.connect(running.as("worker"), "id-1", "one", 2, List.of(lease));
    assertThat(again.await(CoordinatorMessage::hasWelcome).getWelcome().getRenewedList())
        .containsExactly(lease);
    var unusedReply = running.workers().finishAttempt(succeeded(lease));
    assertThat(job(id).getState()).isEqualTo(JobState.JOB_STATE_SUCCEEDED);
    assertThat(job(id).getAttemptsList()).hasSize(1);
  }

  @Test
  void submissionIsIdempotentAndChecked() {
    assertThat(submit("r-1", spec())).isEqualTo(submit("r-1", spec()));
    assertStatus(
        Status.Code.INVALID_ARGUMENT,
        "training.batch_size",
        () ->
            submit(
                "r-2",
                spec().toBuilder()
                    .setTraining(spec().getTraining().toBuilder().setBatchSize(-1))
                    .build()));
    assertStatus(
        Status.Code.FAILED_PRECONDITION,
        "nowhere",
        () ->
            submit(
                "r-3",
                spec().toBuilder()
                    .setData(Data.newBuilder().setTrain(Source.newBuilder().setDataset("nowhere")))
                    .build()));
    assertThat(running.jobs().listJobs(ListJobsRequest.getDefaultInstance()).getJobsList())
        .hasSize(1);
    assertStatus(Status.Code.NOT_FOUND, "nobody", () -> job("nobody"));
    assertStatus(
        Status.Code.INVALID_ARGUMENT,
        "limit",
        () -> running.jobs().listJobs(ListJobsRequest.newBuilder().setLimit(1_001).build()));
  }

  @Test
  void jobsArePausedResumedAndCancelled() {
    String id = submit();
    assertThat(running.jobs().pauseJob(request(id)).getState())
        .isEqualTo(JobState.JOB_STATE_PAUSED);
    assertThat(running.jobs().pauseJob(request(id)).getState())
        .isEqualTo(JobState.JOB_STATE_PAUSED);
    assertThat(running.jobs().resumeJob(request(id)).getState())
        .isEqualTo(JobState.JOB_STATE_QUEUED);
    assertThat(running.jobs().cancelJob(request(id)).getState())
        .isEqualTo(JobState.JOB_STATE_CANCELLED);
    assertThat(running.jobs().cancelJob(request(id)).getState())
        .isEqualTo(JobState.JOB_STATE_CANCELLED);
    assertStatus(Status.Code.FAILED_PRECONDITION, id, () -> running.jobs().pauseJob(request(id)));
    // The watch of an ended job says so and ends.
    assertThat(running.jobs().watchJob(request(id)))
        .toIterable()
        .extracting(JobEvent::getState)
        .containsExactly(JobState.JOB_STATE_CANCELLED);
  }

  @Test
  void aMessageOverTheLimitIsRefused() {
    String huge = "x".repeat(5 << 20);
    assertThatThrownBy(() -> submit("r", spec().toBuilder().setName(huge).build()))
        .isInstanceOfSatisfying(
            StatusRuntimeException.class,
            e -> assertThat(e.getStatus().getCode()).isEqualTo(Status.Code.RESOURCE_EXHAUSTED));
    assertThat(submit()).isNotEmpty();
  }

  @Test
  void logsAreFollowedToTheEnd() throws Exception {
    FakeWorker worker = FakeWorker.connect(running.as("worker"), "one");
    String id = submit();
    LeaseRef lease = worker.offer().getLease();
    begin(lease, 0, "");
    Iterator<LogChunk> log =
        running
            .jobs()
            .streamLogs(
                StreamLogsRequest.newBuilder().setJobId(id).setOffset(3).setFollow(true).build());
    var expected = new StringBuilder();
    for (int i = 0; i < 100; i++) {
      String line = "line " + i + "\n";
      var unused =
          running
              .workers()
              .appendLog(
                  AppendLogRequest.newBuilder()
                      .setLease(lease)
                      .setOffset(expected.length())
                      .setData(ByteString.copyFromUtf8(line))
                      .build());
      expected.append(line);
    }
    var unused = running.workers().finishAttempt(succeeded(lease));
    var read = new StringBuilder();
    log.forEachRemaining(
        chunk -> {
          assertThat(chunk.getOffset()).isEqualTo(3 + read.length());
          read.append(chunk.getData().toStringUtf8());
        });
    assertThat(read.toString()).isEqualTo(expected.substring(3));
    assertThat(
            running
                .jobs()
                .streamLogs(StreamLogsRequest.newBuilder().setJobId(id).build())
                .next()
                .getData()
                .toStringUtf8())
        .isEqualTo(expected.toString());
  }

  @Test
  void aLogThatGrowsBeyondMeasureIsCut() throws Exception {
    FakeWorker worker = FakeWorker.connect(running.as("worker"), "one");
    String id = submit();
    LeaseRef lease = worker.offer().getLease();
    begin(lease, 0, "");
    ByteString piece = ByteString.copyFrom(new byte[256 << 10]);
    for (long offset = 0; offset < 17 << 20; offset += piece.size()) {
      worker.heartbeat(lease);
      assertThat(
              running
                  .workers()
                  .appendLog(
                      AppendLogRequest.newBuilder()
                          .setLease(lease)
                          .setOffset(offset)
                          .setData(piece)
                          .build())
                  .getNextOffset())
          .isGreaterThanOrEqualTo(offset + piece.size());
    }
    var unused = running.workers().finishAttempt(succeeded(lease));
    byte[] log = artifact(id, "train.log");
    assertThat(log.length).isBetween(16 << 20, (16 << 20) + 100);
    assertThat(new String(log, log.length - 60, 60, StandardCharsets.UTF_8))
        .endsWith("[the log ends here: it has reached 16 MiB]\n");
  }

  @Test
  void sessionsAreNumberedAndBeginWithHello() throws Exception {
    var channel = running.as("worker");
    var older = FakeWorker.connect(channel, "w", "w", 1, List.of());
    older.await(CoordinatorMessage::hasWelcome);
    var newer = FakeWorker.connect(channel, "w", "w", 2, List.of());
    newer.await(CoordinatorMessage::hasWelcome);
    assertThat(older.end().getCode()).isEqualTo(Status.Code.ABORTED);
    var stale = FakeWorker.connect(channel, "w", "w", 1, List.of());
    assertThat(stale.end().getCode()).isEqualTo(Status.Code.ABORTED);
    // The older one's end is not the worker's.
    newer.heartbeat();
    newer.await(CoordinatorMessage::hasHeartbeatReply);
    assertThat(
            running.admin().listWorkers(ListWorkersRequest.getDefaultInstance()).getWorkersList())
        .extracting(w -> w.getState())
        .containsExactly("ACTIVE");
    var rude = FakeWorker.silent(channel);
    rude.heartbeat();
    assertThat(rude.end().getCode()).isEqualTo(Status.Code.INVALID_ARGUMENT);
  }

  @Test
  void aStreamEndsWithItsToken() throws Exception {
    String token =
        running
            .admin()
            .createToken(CreateTokenRequest.newBuilder().setRole("worker").setTtlSeconds(2).build())
            .getToken();
    FakeWorker worker = FakeWorker.connect(running.channel(token), "w");
    worker.await(CoordinatorMessage::hasWelcome);
    Status end = worker.end();
    assertThat(end.getCode()).isEqualTo(Status.Code.UNAUTHENTICATED);
    assertThat(end.getDescription()).contains("expired at");
    // As of any worker that is gone.
    Awaitility.await()
        .atMost(Duration.ofSeconds(10))
        .until(
            () ->
                running
                    .admin()
                    .listWorkers(ListWorkersRequest.getDefaultInstance())
                    .getWorkersList()
                    .isEmpty());
  }

  @Test
  void datasetsAreVerifiedBeforeTheyExist() throws Exception {
    byte[] bytes = "pictures".getBytes(StandardCharsets.UTF_8);
    Path file = Files.write(temp.resolve("train.gz"), bytes);
    UploadContent content = Contents.describe(file);
    String uploadId = UUID.randomUUID().toString();
    Dataset dataset =
        Dataset.newBuilder()
            .setName("mnist")
            .setFormat(DatasetFormat.DATASET_FORMAT_IDX)
            .addFiles(
                DatasetFile.newBuilder()
                    .setPath("train.gz")
                    .setBytes(bytes.length)
                    .setSha256(content.getSha256()))
            .addSplits(
                DatasetSplit.newBuilder()
                    .setName("train")
                    .setSamples(10)
                    .addAllShape(List.of(1, 28, 28))
                    .setClasses(10))
            .build();
    CreateDatasetUploadRequest create =
        CreateDatasetUploadRequest.newBuilder().setUploadId(uploadId).setContent(content).build();
    CommitDatasetRequest unsent =
        CommitDatasetRequest.newBuilder()
            .setDataset(dataset)
            .addUploads(CompletedUpload.newBuilder().setUploadId(uploadId).addEtags("none"))
            .build();
    var unused = running.datasets().createDatasetUpload(create);
    assertStatus(
        Status.Code.FAILED_PRECONDITION, "", () -> running.datasets().commitDataset(unsent));
    CompletedUpload sent =
        transfer.upload(
            file,
            content,
            () -> running.datasets().createDatasetUpload(create),
            TransferListener.NONE);
    CommitDatasetRequest commit =
        CommitDatasetRequest.newBuilder().setDataset(dataset).addUploads(sent).build();
    Dataset stored = running.datasets().commitDataset(commit);
    assertThat(stored.getDigest()).hasSize(64);
    assertThat(running.datasets().commitDataset(commit)).isEqualTo(stored);
    assertThat(
            running.datasets().getDataset(GetDatasetRequest.newBuilder().setName("mnist").build()))
        .isEqualTo(stored);
    var unusedReply =
        running
            .datasets()
            .deleteDataset(DeleteDatasetRequest.newBuilder().setName("mnist").build());
    assertStatus(
        Status.Code.NOT_FOUND,
        "mnist",
        () ->
            running.datasets().getDataset(GetDatasetRequest.newBuilder().setName("mnist").build()));
  }

  @Test
  void aDownloadIsForTheHolderAlone() {
    String id = submit();
    assertStatus(
        Status.Code.PERMISSION_DENIED,
        id,
        () ->
            running
                .workers()
                .createDownload(
                    CreateDownloadRequest.newBuilder()
                        .setWorkerId("nobody")
                        .setJobId(id)
                        .setCheckpointId("c")
                        .build()));
  }
}
