package dev.baton.worker.testing;

import com.google.protobuf.ByteString;
import dev.baton.rpc.Channels;
import dev.baton.v1.AdminServiceGrpc;
import dev.baton.v1.AppendLogRequest;
import dev.baton.v1.AppendLogResponse;
import dev.baton.v1.Assignment;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.BeginAttemptResponse;
import dev.baton.v1.Checkpoint;
import dev.baton.v1.CheckpointKept;
import dev.baton.v1.CollectiveBackend;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CommitCheckpointResponse;
import dev.baton.v1.CoordinatorInfo;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.CreateDownloadRequest;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.FinishAttemptResponse;
import dev.baton.v1.GetInfoRequest;
import dev.baton.v1.GroupBroken;
import dev.baton.v1.GroupReady;
import dev.baton.v1.GroupWaiting;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.HeartbeatReply;
import dev.baton.v1.Hello;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Offer;
import dev.baton.v1.Order;
import dev.baton.v1.OrderKind;
import dev.baton.v1.Prepare;
import dev.baton.v1.ProbeResult;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.UploadTicket;
import dev.baton.v1.Welcome;
import dev.baton.v1.WorkerMessage;
import dev.baton.v1.WorkerServiceGrpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * A coordinator of one worker, over gRPC on loopback, that does as the test says: it remembers what
 * it is told, fences by the leases that the test lets stand, and can go away and come back. Objects
 * lie in a {@link FakeStore}.
 */
public final class FakeCoordinator implements AutoCloseable {
  public static final String TOKEN = "token-of-a-test";

  private static final long FOR_EVER = 0;
  private static final Status EXPIRED =
      Status.UNAUTHENTICATED.withDescription(
          "token t expired at 2026-03-01T20:00:00Z; ask for a new one (baton token create)");

  public final FakeStore store;
  public final long heartbeatMillis;
  public final long leaseMillis;

  // All guarded by this.
  public final List<Hello> hellos = new ArrayList<>();
  public final List<Heartbeat> heartbeats = new ArrayList<>();
  public final List<ProgressReport> progress = new ArrayList<>();
  public final List<BeginAttemptRequest> begun = new ArrayList<>();
  public final List<CommitCheckpointRequest> commits = new ArrayList<>();
  public final List<FinishAttemptRequest> finished = new ArrayList<>();
  public final List<GroupWaiting> waiting = new ArrayList<>();
  public final List<GroupBroken> broken = new ArrayList<>();
  public final List<ProbeResult> probed = new ArrayList<>();
  public final List<String> drained = new ArrayList<>();
  public final List<String> refusals = new ArrayList<>();
  private final Map<String, Checkpoint> checkpoints = new TreeMap<>();
  private final Map<String, String> keys = new HashMap<>();
  private final Map<String, String> uploads = new HashMap<>();
  private final Map<Long, ByteArrayOutputStream> logs = new TreeMap<>();
  private final Map<String, Double> points = new TreeMap<>();
  private final Set<LeaseRef> standing = new HashSet<>();
  private final int port;
  private @Nullable Server server;
  private @Nullable StreamObserver<CoordinatorMessage> stream;
  private @Nullable Assignment crossing;
  private final Map<String, Long> sessions = new HashMap<>();
  private final Map<Long, List<LeaseRef>> gangs = new HashMap<>();
  private boolean formingGroups = true;
  private boolean answering = true;
  private boolean repeating;
  private boolean holdingWelcomes;
  private @Nullable CoordinatorMessage heldWelcome;
  private @Nullable Long tokenLeftMillis = FOR_EVER;
  private boolean expired;
  private @Nullable String beginRefusal;
  private @Nullable String commitRefusal;
  private int failingCalls;
  private int unwholeCommits;
  private long terms;

  public FakeCoordinator(long heartbeatMillis, long leaseMillis) throws IOException {
    this.heartbeatMillis = heartbeatMillis;
    this.leaseMillis = leaseMillis;
    this.store = new FakeStore();
    this.port = listen(0);
  }

  public String address() {
    return "127.0.0.1:" + port;
  }

  private int listen(int at) throws IOException {
    Server started =
        Channels.configure(
                NettyServerBuilder.forAddress(
                    new InetSocketAddress(InetAddress.getLoopbackAddress(), at),
                    InsecureServerCredentials.create()))
            .addService(new Service())
            .addService(new Info())
            .intercept(new Gate())
            .build()
            .start();
    synchronized (this) {
      server = started;
    }
    return started.getPort();
  }

  /** Goes away: streams break, calls find nobody. */
  public void goAway() throws InterruptedException {
    Server stopping;
    synchronized (this) {
      stopping = server;
      server = null;
      stream = null;
    }
    if (stopping != null) {
      stopping.shutdownNow().awaitTermination();
    }
  }

  public void comeBack() throws IOException {
    int unused = listen(port);
  }

  @Override
  public void close() throws InterruptedException {
    goAway();
    store.close();
  }

  /** Breaks the stream, and nothing else. */
  public synchronized void breakStream() {
    StreamObserver<CoordinatorMessage> broken = stream;
    stream = null;
    if (broken != null) {
      broken.onError(Status.UNAVAILABLE.withDescription("the test breaks it").asException());
    }
  }

  /** Answers heartbeats, or not. */
  public synchronized void answering(boolean does) {
    answering = does;
  }

  /** Keeps back its answer to the next Hello. */
  public synchronized void holdWelcome() {
    holdingWelcomes = true;
  }

  /** Gives it. */
  public synchronized void welcome() {
    holdingWelcomes = false;
    CoordinatorMessage held = heldWelcome;
    heldWelcome = null;
    if (held != null) {
      push(held);
    }
  }

  /** Answers each heartbeat twice. */
  public synchronized void repeating() {
    repeating = true;
  }

  /** The next calls (not streams) fail with UNAVAILABLE. */
  public synchronized void failCalls(int n) {
    failingCalls = n;
  }

  /** Answers GetInfo only once {@link #tokenEndsIn} is known. */
  public synchronized void holdInfo() {
    tokenLeftMillis = null;
  }

  public synchronized void tokenEndsIn(long millis) {
    tokenLeftMillis = millis;
    notifyAll();
  }

  /** The token is over: calls are refused, and so is the session. */
  public synchronized void expireToken() {
    expired = true;
    StreamObserver<CoordinatorMessage> refused = stream;
    stream = null;
    if (refused != null) {
      refused.onError(EXPIRED.asException());
    }
  }

  /** Attempts cannot begin, for this reason; where there is none, they can again. */
  public synchronized void refuseToBegin(@Nullable String why) {
    beginRefusal = why;
  }

  /** Commits are taken for a bug, and why. */
  public synchronized void refuseCommits(String why) {
    commitRefusal = why;
  }

  /** The next commits find the object damaged. */
  public synchronized void loseUploads(int n) {
    unwholeCommits = n;
  }

  /** Ends a lease: from now on its writes are refused. */
  public synchronized void end(LeaseRef lease) {
    standing.remove(lease);
  }

  /** Ends every lease. */
  public synchronized void endAll() {
    standing.clear();
  }

  public synchronized boolean stands(LeaseRef lease) {
    return standing.contains(lease);
  }

  public synchronized boolean connected() {
    return stream != null;
  }

  /** What a job's assignment is, with the checkpoints committed so far, newest first. */
  public synchronized Assignment assignment(String job, String name) {
    Assignment.Builder assignment =
        Assignment.newBuilder()
            .setJobId(job)
            .setSpec(JobSpec.newBuilder().setName(name))
            .setSpecDigest("digest of " + name)
            .setWorldSize(1);
    checkpoints.values().stream()
        .sorted((a, b) -> Long.compare(b.getStep(), a.getStep()))
        .forEach(assignment::addCheckpoints);
    return assignment.build();
  }

  public synchronized LeaseRef offer(Assignment assignment) {
    LeaseRef lease =
        LeaseRef.newBuilder()
            .setJobId(assignment.getJobId())
            .setTerm(++terms)
            .setLeaseId(UUID.randomUUID().toString())
            .build();
    standing.add(lease);
    offer(lease, assignment);
    return lease;
  }

  /**
   * A term of a gang, granted but not offered yet: a lease for each rank.
   *
   * @param replicas ranks
   */
  public synchronized List<LeaseRef> gang(String job, int replicas) {
    long term = ++terms;
    String id = UUID.randomUUID().toString();
    List<LeaseRef> leases = new ArrayList<>();
    for (int rank = 0; rank < replicas; rank++) {
      leases.add(
          LeaseRef.newBuilder().setJobId(job).setTerm(term).setLeaseId(id).setRank(rank).build());
    }
    standing.addAll(leases);
    gangs.put(term, leases);
    return leases;
  }

  /** Offers a rank of a gang; the lease before it, where it follows one, is over then. */
  public synchronized void offerRank(
      LeaseRef lease, Assignment assignment, @Nullable LeaseRef continues) {
    Offer.Builder offer =
        Offer.newBuilder()
            .setLease(lease)
            .setAssignment(
                assignment.toBuilder()
                    .setWorldSize(ranks(lease.getTerm()).size())
                    .setGroup(lease.getJobId() + "/" + lease.getTerm())
                    .setAddress("127.0.0.1")
                    .setBackend(CollectiveBackend.COLLECTIVE_BACKEND_GLOO));
    if (continues != null) {
      standing.remove(continues);
      offer.setContinues(continues);
    }
    push(CoordinatorMessage.newBuilder().setOffer(offer).build());
  }

  /** Answers when every rank waits, or not. */
  public synchronized void formingGroups(boolean does) {
    formingGroups = does;
  }

  private void kept(LeaseRef lease, long step) {
    push(
        CoordinatorMessage.newBuilder()
            .setCheckpointKept(CheckpointKept.newBuilder().setLease(lease).setStep(step))
            .build());
  }

  private List<LeaseRef> ranks(long term) {
    return gangs.getOrDefault(term, List.of());
  }

  private void formGroup(long term) {
    List<GroupWaiting> present =
        waiting.stream().filter(w -> w.getLease().getTerm() == term).toList();
    boolean all =
        ranks(term).stream()
            .allMatch(lease -> present.stream().anyMatch(w -> w.getLease().equals(lease)));
    if (!formingGroups || !all) {
      return;
    }
    long step = present.stream().mapToLong(GroupWaiting::getStep).max().orElse(0);
    for (LeaseRef lease : ranks(term)) {
      push(
          CoordinatorMessage.newBuilder()
              .setGroupReady(
                  GroupReady.newBuilder()
                      .setLease(lease)
                      .setStoreHost("127.0.0.1")
                      .setStorePort((int) step))
              .build());
    }
  }

  /** Makes an offer that crosses the worker's word that it leaves. */
  public synchronized void offerAcrossDraining(Assignment assignment) {
    crossing = assignment;
  }

  public synchronized void offer(LeaseRef lease, Assignment assignment) {
    push(
        CoordinatorMessage.newBuilder()
            .setOffer(Offer.newBuilder().setLease(lease).setAssignment(assignment))
            .build());
  }

  public synchronized void prepare(Assignment assignment) {
    push(
        CoordinatorMessage.newBuilder()
            .setPrepare(Prepare.newBuilder().setAssignment(assignment))
            .build());
  }

  public synchronized void order(LeaseRef lease, OrderKind kind, String reason) {
    push(
        CoordinatorMessage.newBuilder()
            .setOrder(Order.newBuilder().setLease(lease).setKind(kind).setReason(reason))
            .build());
  }

  public synchronized void push(CoordinatorMessage message) {
    if (stream == null) {
      throw new IllegalStateException("no worker is connected");
    }
    stream.onNext(message);
  }

  /** The whole log of a term. */
  public synchronized String log(long term) {
    ByteArrayOutputStream bytes = logs.get(term);
    return bytes == null ? "" : ByteString.copyFrom(bytes.toByteArray()).toStringUtf8();
  }

  /** Committed steps of the loss, in order. */
  public synchronized List<Long> lossSteps() {
    return points.keySet().stream().map(Long::parseLong).sorted().toList();
  }

  public synchronized long committedStep() {
    return checkpoints.values().stream().mapToLong(Checkpoint::getStep).max().orElse(0);
  }

  public synchronized <T> List<T> copy(List<T> list) {
    return List.copyOf(list);
  }

  /** The object of a checkpoint. */
  public synchronized String key(Checkpoint checkpoint) {
    String key = keys.get(checkpoint.getCheckpointId());
    if (key == null) {
      throw new IllegalArgumentException("no such checkpoint");
    }
    return key;
  }

  /** Replaces a checkpoint's content: whole by its digest, whatever it holds. */
  public synchronized void replace(Checkpoint checkpoint, String content) {
    byte[] bytes = content.getBytes(StandardCharsets.UTF_8);
    store.put(key(checkpoint), bytes);
    checkpoints.put(
        checkpoint.getCheckpointId(),
        checkpoint.toBuilder().setBytes(bytes.length).setSha256(FakeStore.sha256(bytes)).build());
  }

  // A point of a step beyond the state would be trained again, and reported again.
  private void withdrawBeyond(long step) {
    points.keySet().removeIf(s -> Long.parseLong(s) > step);
  }

  private void add(List<MetricPoint> added) {
    for (MetricPoint point : added) {
      if (points.putIfAbsent(Long.toString(point.getStep()), point.getValue()) != null) {
        refusals.add("point of step " + point.getStep() + " repeated");
      }
    }
  }

  private final class Gate implements ServerInterceptor {
    @Override
    public <Q, R> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
      if (!("Bearer " + TOKEN).equals(headers.get(Channels.AUTHORIZATION))) {
        call.close(Status.UNAUTHENTICATED.withDescription("this token is unknown"), new Metadata());
        return new ServerCall.Listener<>() {};
      }
      boolean fails = false;
      synchronized (FakeCoordinator.this) {
        if (expired) {
          call.close(EXPIRED, new Metadata());
          return new ServerCall.Listener<>() {};
        }
        if (failingCalls > 0 && call.getMethodDescriptor().getType().clientSendsOneMessage()) {
          failingCalls--;
          fails = true;
        }
      }
      if (fails) {
        call.close(Status.UNAVAILABLE.withDescription("the test says so"), new Metadata());
        return new ServerCall.Listener<>() {};
      }
      return next.startCall(call, headers);
    }
  }

  private final class Info extends AdminServiceGrpc.AdminServiceImplBase {
    @Override
    public void getInfo(GetInfoRequest request, StreamObserver<CoordinatorInfo> to) {
      synchronized (FakeCoordinator.this) {
        try {
          while (tokenLeftMillis == null) {
            FakeCoordinator.this.wait();
          }
        } catch (InterruptedException e) {
          to.onError(Status.UNAVAILABLE.asException());
          return;
        }
        // A clock far from the worker's.
        long now = 1_000_000;
        CoordinatorInfo.Builder info = CoordinatorInfo.newBuilder().setTimeMs(now);
        if (tokenLeftMillis != FOR_EVER) {
          info.setTokenExpiresAtMs(now + tokenLeftMillis);
        }
        to.onNext(info.build());
        to.onCompleted();
      }
    }
  }

  private final class Service extends WorkerServiceGrpc.WorkerServiceImplBase {
    @Override
    public StreamObserver<WorkerMessage> session(StreamObserver<CoordinatorMessage> to) {
      return new StreamObserver<>() {
        @Override
        public void onNext(WorkerMessage message) {
          synchronized (FakeCoordinator.this) {
            receive(message, to);
          }
        }

        @Override
        public void onError(Throwable error) {
          gone();
        }

        @Override
        public void onCompleted() {
          gone();
          to.onCompleted();
        }

        private void gone() {
          synchronized (FakeCoordinator.this) {
            if (stream == to) {
              stream = null;
            }
          }
        }
      };
    }

    private void receive(WorkerMessage message, StreamObserver<CoordinatorMessage> to) {
      switch (message.getMessageCase()) {
        case HELLO -> {
          Hello hello = message.getHello();
          if (hello.getSession() <= sessions.getOrDefault(hello.getWorkerId(), 0L)) {
            to.onError(Status.ABORTED.withDescription("a newer session exists").asException());
            return;
          }
          sessions.put(hello.getWorkerId(), hello.getSession());
          hellos.add(hello);
          stream = to;
          Welcome.Builder welcome =
              Welcome.newBuilder().setHeartbeatIntervalMs(heartbeatMillis).setLeaseMs(leaseMillis);
          for (LeaseRef lease : hello.getLeasesList()) {
            if (standing.contains(lease)) {
              welcome.addRenewed(lease);
            } else {
              welcome.addEnded(lease);
            }
          }
          CoordinatorMessage answer = CoordinatorMessage.newBuilder().setWelcome(welcome).build();
          if (holdingWelcomes) {
            heldWelcome = answer;
          } else {
            to.onNext(answer);
          }
        }
        case HEARTBEAT -> {
          Heartbeat heartbeat = message.getHeartbeat();
          heartbeats.add(heartbeat);
          if (!answering) {
            return;
          }
          HeartbeatReply.Builder reply = HeartbeatReply.newBuilder().setSeq(heartbeat.getSeq());
          for (LeaseRef lease : heartbeat.getLeasesList()) {
            if (standing.contains(lease)) {
              reply.addRenewed(lease);
            } else {
              reply.addEnded(lease);
            }
          }
          CoordinatorMessage answer =
              CoordinatorMessage.newBuilder().setHeartbeatReply(reply).build();
          to.onNext(answer);
          if (repeating) {
            to.onNext(answer);
          }
        }
        case PROGRESS -> progress.add(message.getProgress());
        case DRAINING -> {
          drained.add(message.getDraining().getOver() ? "over" : message.getDraining().getReason());
          if (crossing != null) {
            LeaseRef unused = offer(crossing);
            crossing = null;
          }
        }
        case GROUP_WAITING -> {
          waiting.add(message.getGroupWaiting());
          formGroup(message.getGroupWaiting().getLease().getTerm());
        }
        case GROUP_BROKEN -> broken.add(message.getGroupBroken());
        case PROBE_RESULT -> probed.add(message.getProbeResult());
        case MESSAGE_NOT_SET -> refusals.add("not understood: " + message.getMessageCase());
      }
    }

    private boolean over(LeaseRef lease, String call, StreamObserver<?> to) {
      if (standing.contains(lease)) {
        return false;
      }
      refusals.add(call + " of term " + lease.getTerm());
      to.onError(Status.ABORTED.withDescription("the term is over").asException());
      return true;
    }

    private <T> void reply(StreamObserver<T> to, T answer) {
      to.onNext(answer);
      to.onCompleted();
    }

    @Override
    public void beginAttempt(BeginAttemptRequest request, StreamObserver<BeginAttemptResponse> to) {
      synchronized (FakeCoordinator.this) {
        if (over(request.getLease(), "begin", to)) {
          return;
        }
        if (beginRefusal != null) {
          to.onError(Status.FAILED_PRECONDITION.withDescription(beginRefusal).asException());
          return;
        }
        begun.add(request);
        withdrawBeyond(request.getResumedStep());
        request.getDamagedList().forEach(d -> checkpoints.remove(d.getCheckpointId()));
        reply(to, BeginAttemptResponse.getDefaultInstance());
      }
    }

    @Override
    public void createDownload(CreateDownloadRequest request, StreamObserver<DownloadTicket> to) {
      synchronized (FakeCoordinator.this) {
        if (request.hasDatasetFile() && !store.has(request.getDatasetFile().getPath())) {
          to.onError(Status.NOT_FOUND.withDescription("no such file").asException());
          return;
        }
        if (request.hasDatasetFile()) {
          reply(to, store.ticket(request.getDatasetFile().getPath()));
          return;
        }
        Checkpoint checkpoint = checkpoints.get(request.getCheckpointId());
        if (checkpoint == null) {
          to.onError(Status.NOT_FOUND.withDescription("no such checkpoint").asException());
          return;
        }
        reply(
            to,
            DownloadTicket.newBuilder()
                .setRequest(store.request(key(checkpoint)))
                .setBytes(checkpoint.getBytes())
                .setSha256(checkpoint.getSha256())
                .build());
      }
    }

    @Override
    public void createUpload(CreateUploadRequest request, StreamObserver<UploadTicket> to) {
      synchronized (FakeCoordinator.this) {
        if (over(request.getLease(), "upload", to)) {
          return;
        }
        String key = "objects/" + request.getUploadId();
        uploads.put(request.getUploadId(), request.getContent().getSha256());
        reply(
            to,
            UploadTicket.newBuilder()
                .setUploadId(request.getUploadId())
                .addParts(store.request(key))
                .build());
      }
    }

    @Override
    public void commitCheckpoint(
        CommitCheckpointRequest request, StreamObserver<CommitCheckpointResponse> to) {
      synchronized (FakeCoordinator.this) {
        if (over(request.getLease(), "commit", to)) {
          return;
        }
        if (commitRefusal != null) {
          to.onError(Status.INVALID_ARGUMENT.withDescription(commitRefusal).asException());
          return;
        }
        String id = request.getUpload().getUploadId();
        if (unwholeCommits > 0) {
          unwholeCommits--;
          to.onError(Status.FAILED_PRECONDITION.withDescription("not whole").asException());
          return;
        }
        commits.add(request);
        String key = "objects/" + id;
        Checkpoint checkpoint =
            Checkpoint.newBuilder()
                .setStep(request.getStep())
                .setBytes(store.size(key))
                .setSha256(String.valueOf(uploads.get(id)))
                .setCheckpointId("checkpoint-" + id)
                .setTerm(request.getLease().getTerm())
                .build();
        if (checkpoints.putIfAbsent(checkpoint.getCheckpointId(), checkpoint) == null) {
          keys.put(checkpoint.getCheckpointId(), key);
          add(request.getPointsList());
        }
        ranks(request.getLease().getTerm()).stream()
            .filter(lease -> lease.getRank() > 0 && standing.contains(lease))
            .forEach(lease -> kept(lease, request.getStep()));
        if (request.getRelease()) {
          standing.remove(request.getLease());
        }
        reply(
            to,
            CommitCheckpointResponse.newBuilder()
                .setCheckpointId(checkpoint.getCheckpointId())
                .build());
      }
    }

    @Override
    public void finishAttempt(
        FinishAttemptRequest request, StreamObserver<FinishAttemptResponse> to) {
      synchronized (FakeCoordinator.this) {
        if (over(request.getLease(), "finish", to)) {
          return;
        }
        finished.add(request);
        add(request.getPointsList());
        standing.remove(request.getLease());
        reply(to, FinishAttemptResponse.getDefaultInstance());
      }
    }

    @Override
    public void appendLog(AppendLogRequest request, StreamObserver<AppendLogResponse> to) {
      synchronized (FakeCoordinator.this) {
        if (over(request.getLease(), "log", to)) {
          return;
        }
        ByteArrayOutputStream log =
            logs.computeIfAbsent(request.getLease().getTerm(), term -> new ByteArrayOutputStream());
        int known = (int) (log.size() - request.getOffset());
        if (known < 0) {
          to.onError(Status.INVALID_ARGUMENT.withDescription("a gap in the log").asException());
          return;
        }
        byte[] data = request.getData().toByteArray();
        if (known < data.length) {
          log.write(data, known, data.length - known);
        }
        reply(to, AppendLogResponse.newBuilder().setNextOffset(log.size()).build());
      }
    }
  }
}
