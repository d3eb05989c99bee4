package dev.baton.coordinator.grpc;

import dev.baton.coordinator.core.ArtifactRecord;
import dev.baton.coordinator.core.CoordinatorException;
import dev.baton.coordinator.core.Now;
import dev.baton.coordinator.core.Reads;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.StoredObject;
import dev.baton.coordinator.core.Stores;
import dev.baton.coordinator.loop.CoreLoop;
import dev.baton.v1.Artifact;
import dev.baton.v1.DownloadArtifactRequest;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.Event;
import dev.baton.v1.GetJobRequest;
import dev.baton.v1.GetMetricsResponse;
import dev.baton.v1.Job;
import dev.baton.v1.JobEvent;
import dev.baton.v1.JobRequest;
import dev.baton.v1.JobServiceGrpc;
import dev.baton.v1.JobState;
import dev.baton.v1.ListArtifactsResponse;
import dev.baton.v1.ListJobsRequest;
import dev.baton.v1.ListJobsResponse;
import dev.baton.v1.LogChunk;
import dev.baton.v1.StreamLogsRequest;
import dev.baton.v1.SubmitJobRequest;
import dev.baton.v1.SubmitJobResponse;
import dev.baton.v1.WatchEventsRequest;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Jobs, for their users. */
final class JobGrpcService extends JobServiceGrpc.JobServiceImplBase {
  private static final Logger log = LoggerFactory.getLogger(JobGrpcService.class);

  private static final int DEFAULT_LIMIT = 100;
  private static final int MAX_LIMIT = 1_000;
  // Some 50 MB in the coordinator's memory, and 20 on the way.
  private static final int MAX_POINTS = 500_000;

  private final CoreLoop<Scheduler> loop;
  private final Transfers transfers;
  private final Watchers watchers;
  private final EventLog events;
  private final LogFollowers followers;
  private final Reads reads;
  private final Executor blocking;
  private final Function<String, CompletableFuture<Void>> reports;

  /**
   * @param reports completes once an ended job's reports are among its artifacts
   */
  JobGrpcService(
      CoreLoop<Scheduler> loop,
      Transfers transfers,
      Watchers watchers,
      EventLog events,
      LogFollowers followers,
      Reads reads,
      Executor blocking,
      Function<String, CompletableFuture<Void>> reports) {
    this.loop = loop;
    this.transfers = transfers;
    this.watchers = watchers;
    this.events = events;
    this.followers = followers;
    this.reads = reads;
    this.blocking = blocking;
    this.reports = reports;
  }

  @Override
  public void submitJob(SubmitJobRequest request, StreamObserver<SubmitJobResponse> responses) {
    Replies.reply(
        responses,
        () ->
            loop.submit((core, now) -> core.submit(request.getRequestId(), request.getSpec(), now))
                .thenApply(id -> SubmitJobResponse.newBuilder().setJobId(id).build()));
  }

  @Override
  public void getJob(GetJobRequest request, StreamObserver<Job> responses) {
    Replies.reply(responses, () -> loop.submit((core, now) -> core.view(request.getJobId(), now)));
  }

  @Override
  public void listJobs(ListJobsRequest request, StreamObserver<ListJobsResponse> responses) {
    Replies.reply(
        responses,
        () -> {
          int limit = request.getLimit() == 0 ? DEFAULT_LIMIT : request.getLimit();
          if (limit < 0 || limit > MAX_LIMIT) {
            throw invalid("limit: must lie between 1 and " + MAX_LIMIT + ", not " + limit);
          }
          var states = EnumSet.noneOf(dev.baton.coordinator.core.JobState.class);
          request.getStatesList().forEach(state -> states.addAll(coreStates(state)));
          if (states.isEmpty()) {
            states.addAll(EnumSet.allOf(dev.baton.coordinator.core.JobState.class));
          }
          return loop.submit((core, now) -> core.list(states, limit, now))
              .thenApply(jobs -> ListJobsResponse.newBuilder().addAllJobs(jobs).build());
        });
  }

  private static Set<dev.baton.coordinator.core.JobState> coreStates(JobState state) {
    return switch (state) {
      case JOB_STATE_QUEUED -> EnumSet.of(dev.baton.coordinator.core.JobState.QUEUED);
      case JOB_STATE_RUNNING ->
          EnumSet.of(
              dev.baton.coordinator.core.JobState.RUNNING,
              dev.baton.coordinator.core.JobState.PAUSING);
      case JOB_STATE_PAUSED -> EnumSet.of(dev.baton.coordinator.core.JobState.PAUSED);
      case JOB_STATE_SUCCEEDED -> EnumSet.of(dev.baton.coordinator.core.JobState.SUCCEEDED);
      case JOB_STATE_FAILED -> EnumSet.of(dev.baton.coordinator.core.JobState.FAILED);
      case JOB_STATE_CANCELLED -> EnumSet.of(dev.baton.coordinator.core.JobState.CANCELLED);
      case JOB_STATE_UNSPECIFIED, UNRECOGNIZED ->
          throw invalid("states: one of them is not a state of jobs");
    };
  }

  @Override
  public void cancelJob(JobRequest request, StreamObserver<Job> responses) {
    change(request, responses, Scheduler::cancel);
  }

  @Override
  public void pauseJob(JobRequest request, StreamObserver<Job> responses) {
    change(request, responses, Scheduler::pause);
  }

  @Override
  public void resumeJob(JobRequest request, StreamObserver<Job> responses) {
    change(request, responses, Scheduler::resume);
  }

  @FunctionalInterface
  private interface Change {
    void apply(Scheduler core, String jobId, Now now);
  }

  private void change(JobRequest request, StreamObserver<Job> responses, Change change) {
    Replies.reply(
        responses,
        () ->
            loop.submit(
                (core, now) -> {
                  change.apply(core, request.getJobId(), now);
                  return core.view(request.getJobId(), now);
                }));
  }

  @Override
  public void watchJob(JobRequest request, StreamObserver<JobEvent> responses) {
    var stream = (ServerCallStreamObserver<JobEvent>) responses;
    String jobId = request.getJobId();
    stream.setOnCancelHandler(
        () -> {
          var unused =
              loop.submit(
                  (core, now) -> {
                    watchers.remove(jobId, stream);
                    return true;
                  });
        });
    var unused =
        loop.submit((core, now) -> first(core.view(jobId, now), now))
            .whenComplete(
                (first, failure) -> {
                  if (failure != null) {
                    stream.onError(GrpcErrors.translate(failure));
                    return;
                  }
                  stream.onNext(first);
                  if (hasEnded(first.getState())) {
                    stream.onCompleted();
                  } else {
                    watchers.add(jobId, stream);
                  }
                });
  }

  /** The job as it is. */
  private static JobEvent first(Job job, Now now) {
    var event =
        JobEvent.newBuilder()
            .setTimeMs(now.epochMs())
            .setState(job.getState())
            .setEvent("state")
            .setMessage(job.getReason())
            .setProgress(job.getProgress());
    int last = job.getAttemptsCount() - 1;
    if (last >= 0 && job.getAttempts(last).getEndedAtMs() == 0) {
      event.addAllWorkers(job.getAttempts(last).getWorkersList());
    }
    return event.build();
  }

  static boolean hasEnded(JobState state) {
    return state == JobState.JOB_STATE_SUCCEEDED
        || state == JobState.JOB_STATE_FAILED
        || state == JobState.JOB_STATE_CANCELLED;
  }

  @Override
  public void watchEvents(WatchEventsRequest request, StreamObserver<Event> responses) {
    var stream = (ServerCallStreamObserver<Event>) responses;
    String jobId = request.getJobId();
    stream.setOnCancelHandler(
        () -> {
          var unused =
              loop.submit(
                  (core, now) -> {
                    events.remove(stream);
                    return true;
                  });
        });
    var unused =
        loop.submit((core, now) -> jobId.isEmpty() || !hasEnded(core.view(jobId, now).getState()))
            .whenComplete(
                (moreMayCome, failure) -> {
                  if (failure != null) {
                    stream.onError(GrpcErrors.translate(failure));
                  } else {
                    events.read(
                        jobId, request.getAfter(), request.getFollow() && moreMayCome, stream);
                  }
                });
  }

  @Override
  public void streamLogs(StreamLogsRequest request, StreamObserver<LogChunk> responses) {
    var reader = (ServerCallStreamObserver<LogChunk>) responses;
    String jobId = request.getJobId();
    var stream = new LogStream(reader, reads, blocking, jobId, Math.max(0, request.getOffset()));
    reader.setOnReadyHandler(stream::wake);
    reader.setOnCancelHandler(
        () -> {
          var unused =
              loop.submit(
                  (core, now) -> {
                    followers.remove(jobId, stream);
                    return true;
                  });
        });
    var unused =
        loop.submit((core, now) -> core.view(jobId, now).getState())
            .whenComplete(
                (state, failure) -> {
                  if (failure != null) {
                    reader.onError(GrpcErrors.translate(failure));
                  } else if (request.getFollow() && !hasEnded(state)) {
                    followers.add(jobId, stream);
                    stream.wake();
                  } else {
                    stream.finish();
                  }
                });
  }

  @Override
  public void getMetrics(JobRequest request, StreamObserver<GetMetricsResponse> responses) {
    Replies.reply(
        responses,
        () -> query(request.getJobId(), stores -> metrics(stores, request.getJobId(), MAX_POINTS)));
  }

  /** Every point, if one answer, and the memory of both sides, can hold them. */
  static GetMetricsResponse metrics(Stores stores, String jobId, int most) {
    var response = GetMetricsResponse.newBuilder();
    stores
        .jobs()
        .forEachMetric(
            jobId,
            point -> {
              if (response.getPointsCount() == most) {
                throw new CoordinatorException(
                    CoordinatorException.Kind.FAILED_PRECONDITION,
                    "job %s has more than %d metric points, too many for one answer; once it has"
                            .formatted(jobId, most)
                        + " ended, 'baton artifacts get "
                        + jobId
                        + " metrics.csv' brings them all");
              }
              response.addPoints(point);
            });
    return response.build();
  }

  @Override
  public void listArtifacts(JobRequest request, StreamObserver<ListArtifactsResponse> responses) {
    Replies.reply(
        responses,
        () ->
            reports
                .apply(request.getJobId())
                .handle((done, failure) -> log(request.getJobId(), failure))
                .thenCompose(
                    said ->
                        query(
                            request.getJobId(),
                            stores -> artifacts(stores.jobs().artifacts(request.getJobId())))));
  }

  // A full store must not hide what it holds.
  private static boolean log(String jobId, @Nullable Throwable failure) {
    if (failure != null) {
      log.warn("job {}: its reports are not written: {}", jobId, String.valueOf(failure));
    }
    return failure == null;
  }

  private static ListArtifactsResponse artifacts(List<ArtifactRecord> records) {
    var response = ListArtifactsResponse.newBuilder();
    for (ArtifactRecord record : records) {
      response.addArtifacts(
          Artifact.newBuilder()
              .setName(record.name())
              .setBytes(record.bytes())
              .setSha256(record.sha256())
              .setCreatedAtMs(record.createdAtMs()));
    }
    return response.build();
  }

  @Override
  public void downloadArtifact(
      DownloadArtifactRequest request, StreamObserver<DownloadTicket> responses) {
    Replies.reply(
        responses,
        () ->
            transfers.downloadTicket(
                artifact(request)
                    .thenCompose(
                        found ->
                            found.isPresent()
                                ? CompletableFuture.completedFuture(found)
                                : reports
                                    .apply(request.getJobId())
                                    .thenCompose(done -> artifact(request)))
                    .thenApply(found -> found.orElseThrow(() -> noArtifact(request)))));
  }

  private CompletableFuture<Optional<StoredObject>> artifact(DownloadArtifactRequest request) {
    return query(
        request.getJobId(),
        stores ->
            stores
                .jobs()
                .artifact(request.getJobId(), request.getName())
                .map(found -> new StoredObject(found.objectKey(), found.bytes(), found.sha256())));
  }

  private static CoordinatorException noArtifact(DownloadArtifactRequest request) {
    return new CoordinatorException(
        CoordinatorException.Kind.NOT_FOUND,
        "job " + request.getJobId() + " has no artifact " + request.getName());
  }

  private <T> CompletableFuture<T> query(String jobId, Function<Stores, T> query) {
    return CompletableFuture.supplyAsync(
        () ->
            reads.read(
                stores -> {
                  if (stores.jobs().find(jobId).isEmpty()) {
                    throw new CoordinatorException(
                        CoordinatorException.Kind.NOT_FOUND, "there is no job " + jobId);
                  }
                  return query.apply(stores);
                }),
        blocking);
  }

  private static CoordinatorException invalid(String message) {
    return new CoordinatorException(CoordinatorException.Kind.INVALID_ARGUMENT, message);
  }
}
