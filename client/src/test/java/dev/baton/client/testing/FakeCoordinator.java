package dev.baton.client.testing;

import dev.baton.rpc.Channels;
import dev.baton.v1.AdminServiceGrpc;
import dev.baton.v1.Artifact;
import dev.baton.v1.CommitDatasetRequest;
import dev.baton.v1.CoordinatorInfo;
import dev.baton.v1.CreateDatasetUploadRequest;
import dev.baton.v1.CreateTokenRequest;
import dev.baton.v1.CreateTokenResponse;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetServiceGrpc;
import dev.baton.v1.DeleteDatasetRequest;
import dev.baton.v1.DeleteDatasetResponse;
import dev.baton.v1.DownloadArtifactRequest;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.DrainWorkerRequest;
import dev.baton.v1.Event;
import dev.baton.v1.GetDatasetRequest;
import dev.baton.v1.GetInfoRequest;
import dev.baton.v1.GetJobRequest;
import dev.baton.v1.GetMetricsResponse;
import dev.baton.v1.Job;
import dev.baton.v1.JobEvent;
import dev.baton.v1.JobRequest;
import dev.baton.v1.JobServiceGrpc;
import dev.baton.v1.JobState;
import dev.baton.v1.ListArtifactsResponse;
import dev.baton.v1.ListDatasetsRequest;
import dev.baton.v1.ListDatasetsResponse;
import dev.baton.v1.ListJobsRequest;
import dev.baton.v1.ListJobsResponse;
import dev.baton.v1.ListWorkersRequest;
import dev.baton.v1.ListWorkersResponse;
import dev.baton.v1.LogChunk;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.PresignedRequest;
import dev.baton.v1.StreamLogsRequest;
import dev.baton.v1.SubmitJobRequest;
import dev.baton.v1.SubmitJobResponse;
import dev.baton.v1.UploadTicket;
import dev.baton.v1.WatchEventsRequest;
import dev.baton.v1.WorkerInfo;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** The client's side of a coordinator, in this process: it answers what a test told it to. */
public final class FakeCoordinator implements AutoCloseable {
  public static final String TOKEN = "good-token";

  public final Map<String, Job> jobs = new LinkedHashMap<>();
  public final List<SubmitJobRequest> submitted = new ArrayList<>();
  public final List<ListJobsRequest> listed = new ArrayList<>();
  public final Map<String, Dataset> datasets = new LinkedHashMap<>();
  public final List<CreateDatasetUploadRequest> uploads = new ArrayList<>();
  public final List<CommitDatasetRequest> commits = new ArrayList<>();
  public final List<WorkerInfo> workers = new ArrayList<>();
  public final List<MetricPoint> points = new ArrayList<>();
  public final List<Artifact> artifacts = new ArrayList<>();
  public final List<CreateTokenRequest> tokens = new ArrayList<>();

  /** What tokens made here say of the coordinator: .PIN.HOST:PORT. */
  public String origin = "";

  public String httpUrl = "";

  /** What GetInfo answers. */
  public CoordinatorInfo info = CoordinatorInfo.getDefaultInstance();

  public final List<StreamLogsRequest> logRequests = new ArrayList<>();

  /** What each WatchJob in turn does; the last one is used again. */
  public final Deque<Consumer<StreamObserver<JobEvent>>> watches = new ArrayDeque<>();

  /** What each WatchEvents in turn does. */
  public final Deque<Consumer<StreamObserver<Event>>> events = new ArrayDeque<>();

  public final List<WatchEventsRequest> eventRequests = new ArrayList<>();

  /** What each StreamLogs in turn does. */
  public final Deque<Consumer<StreamObserver<LogChunk>>> logs = new ArrayDeque<>();

  /** What the next calls fail with, in turn, before anything is done. */
  public final Deque<Status> failures = new ArrayDeque<>();

  private final String name = InProcessServerBuilder.generateName();
  private @Nullable Server server;

  public FakeCoordinator() {
    start();
  }

  /** Begins to serve, again after a stop. */
  public void start() {
    try {
      server =
          InProcessServerBuilder.forName(name)
              .intercept(new CheckToken())
              .addService(new Jobs())
              .addService(new Datasets())
              .addService(new Admin())
              .build()
              .start();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Takes no new calls; streams under way may say their last. */
  public void stop() {
    if (server != null) {
      server.shutdown();
      server = null;
    }
  }

  public boolean isStopped() {
    return server == null;
  }

  public ManagedChannel channel(String token) {
    return InProcessChannelBuilder.forName(name)
        .intercept(Channels.bearer(token), Channels.deadlines())
        .build();
  }

  @Override
  public void close() {
    stop();
  }

  private final class CheckToken implements ServerInterceptor {
    @Override
    public <Q, R> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
      Status failure =
          ("Bearer " + TOKEN).equals(headers.get(Channels.AUTHORIZATION))
              ? failures.poll()
              : Status.UNAUTHENTICATED.withDescription("unknown token");
      if (failure != null) {
        call.close(failure, new Metadata());
        return new ServerCall.Listener<>() {};
      }
      return next.startCall(call, headers);
    }
  }

  private static <T> void answer(StreamObserver<T> to, T value) {
    to.onNext(value);
    to.onCompleted();
  }

  private static StatusRuntimeException notFound(String what) {
    return Status.NOT_FOUND.withDescription(what + " does not exist").asRuntimeException();
  }

  private final class Jobs extends JobServiceGrpc.JobServiceImplBase {
    private void job(String id, StreamObserver<Job> to, @Nullable JobState state) {
      Job job = jobs.get(id);
      if (job == null) {
        to.onError(notFound("job " + id));
        return;
      }
      if (state != null) {
        job = job.toBuilder().setState(state).build();
        jobs.put(id, job);
      }
      answer(to, job);
    }

    @Override
    public void submitJob(SubmitJobRequest request, StreamObserver<SubmitJobResponse> to) {
      submitted.add(request);
      answer(to, SubmitJobResponse.newBuilder().setJobId("job-" + submitted.size()).build());
    }

    @Override
    public void getJob(GetJobRequest request, StreamObserver<Job> to) {
      job(request.getJobId(), to, null);
    }

    @Override
    public void listJobs(ListJobsRequest request, StreamObserver<ListJobsResponse> to) {
      listed.add(request);
      List<JobState> states = request.getStatesList();
      answer(
          to,
          ListJobsResponse.newBuilder()
              .addAllJobs(
                  jobs.values().stream()
                      .filter(job -> states.isEmpty() || states.contains(job.getState()))
                      .toList())
              .build());
    }

    @Override
    public void cancelJob(JobRequest request, StreamObserver<Job> to) {
      job(request.getJobId(), to, JobState.JOB_STATE_CANCELLED);
    }

    @Override
    public void pauseJob(JobRequest request, StreamObserver<Job> to) {
      job(request.getJobId(), to, JobState.JOB_STATE_PAUSED);
    }

    @Override
    public void resumeJob(JobRequest request, StreamObserver<Job> to) {
      job(request.getJobId(), to, JobState.JOB_STATE_QUEUED);
    }

    @Override
    public void watchJob(JobRequest request, StreamObserver<JobEvent> to) {
      if (watches.isEmpty()) {
        to.onError(notFound("job " + request.getJobId()));
        return;
      }
      (watches.size() == 1 ? watches.peek() : watches.poll()).accept(to);
    }

    @Override
    public void watchEvents(WatchEventsRequest request, StreamObserver<Event> to) {
      eventRequests.add(request);
      events.remove().accept(to);
    }

    @Override
    public void streamLogs(StreamLogsRequest request, StreamObserver<LogChunk> to) {
      logRequests.add(request);
      if (logs.isEmpty()) {
        to.onError(notFound("job " + request.getJobId()));
        return;
      }
      logs.poll().accept(to);
    }

    @Override
    public void getMetrics(JobRequest request, StreamObserver<GetMetricsResponse> to) {
      answer(to, GetMetricsResponse.newBuilder().addAllPoints(points).build());
    }

    @Override
    public void listArtifacts(JobRequest request, StreamObserver<ListArtifactsResponse> to) {
      answer(to, ListArtifactsResponse.newBuilder().addAllArtifacts(artifacts).build());
    }

    @Override
    public void downloadArtifact(
        DownloadArtifactRequest request, StreamObserver<DownloadTicket> to) {
      for (Artifact artifact : artifacts) {
        if (artifact.getName().equals(request.getName())) {
          answer(
              to,
              DownloadTicket.newBuilder()
                  .setRequest(PresignedRequest.newBuilder().setUrl("get:" + request.getName()))
                  .setBytes(artifact.getBytes())
                  .setSha256(artifact.getSha256())
                  .build());
          return;
        }
      }
      to.onError(notFound("artifact " + request.getName()));
    }
  }

  private final class Datasets extends DatasetServiceGrpc.DatasetServiceImplBase {
    @Override
    public void createDatasetUpload(
        CreateDatasetUploadRequest request, StreamObserver<UploadTicket> to) {
      uploads.add(request);
      answer(
          to,
          UploadTicket.newBuilder()
              .setUploadId(request.getUploadId())
              .addParts(PresignedRequest.newBuilder().setUrl("put:" + request.getUploadId()))
              .build());
    }

    @Override
    public void commitDataset(CommitDatasetRequest request, StreamObserver<Dataset> to) {
      commits.add(request);
      Dataset dataset =
          request.getDataset().toBuilder()
              .setDigest(dev.baton.dataset.DatasetDigests.digest(request.getDataset()))
              .build();
      datasets.put(dataset.getName(), dataset);
      answer(to, dataset);
    }

    @Override
    public void getDataset(GetDatasetRequest request, StreamObserver<Dataset> to) {
      Dataset dataset = datasets.get(request.getName());
      if (dataset == null) {
        to.onError(notFound("data set " + request.getName()));
      } else {
        answer(to, dataset);
      }
    }

    @Override
    public void listDatasets(ListDatasetsRequest request, StreamObserver<ListDatasetsResponse> to) {
      answer(to, ListDatasetsResponse.newBuilder().addAllDatasets(datasets.values()).build());
    }

    @Override
    public void deleteDataset(
        DeleteDatasetRequest request, StreamObserver<DeleteDatasetResponse> to) {
      if (datasets.remove(request.getName()) == null) {
        to.onError(notFound("data set " + request.getName()));
      } else {
        answer(to, DeleteDatasetResponse.getDefaultInstance());
      }
    }
  }

  private final class Admin extends AdminServiceGrpc.AdminServiceImplBase {
    @Override
    public void listWorkers(ListWorkersRequest request, StreamObserver<ListWorkersResponse> to) {
      answer(to, ListWorkersResponse.newBuilder().addAllWorkers(workers).build());
    }

    @Override
    public void getInfo(GetInfoRequest request, StreamObserver<CoordinatorInfo> to) {
      answer(to, info);
    }

    @Override
    public void drainWorker(DrainWorkerRequest request, StreamObserver<WorkerInfo> to) {
      for (WorkerInfo worker : workers) {
        if (worker.getName().equals(request.getWorker())) {
          answer(to, worker.toBuilder().setState("DRAINING").build());
          return;
        }
      }
      to.onError(notFound("worker " + request.getWorker()));
    }

    @Override
    public void createToken(CreateTokenRequest request, StreamObserver<CreateTokenResponse> to) {
      tokens.add(request);
      answer(
          to,
          CreateTokenResponse.newBuilder()
              .setToken("secret-" + UUID.nameUUIDFromBytes(request.toByteArray()) + origin)
              .setHttpUrl(httpUrl)
              .setId("tok-1")
              .setRole(request.getRole())
              .setExpiresAtMs(
                  request.getTtlSeconds() == 0
                      ? 0
                      : ManualTime.START_MILLIS + 1000 * request.getTtlSeconds())
              .build());
    }
  }
}
