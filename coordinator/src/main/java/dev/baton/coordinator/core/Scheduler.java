package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.aborted;
import static dev.baton.coordinator.core.CoordinatorException.denied;
import static dev.baton.coordinator.core.CoordinatorException.invalid;
import static dev.baton.coordinator.core.CoordinatorException.notFound;
import static dev.baton.coordinator.core.CoordinatorException.precondition;

import com.google.protobuf.ByteString;
import dev.baton.dataset.DatasetDigests;
import dev.baton.v1.AppendLogRequest;
import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.CreateDownloadRequest;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.DamagedCheckpoint;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFileRef;
import dev.baton.v1.Draining;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.HeartbeatReply;
import dev.baton.v1.Hello;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.NewArtifact;
import dev.baton.v1.Offer;
import dev.baton.v1.OrderKind;
import dev.baton.v1.Prepare;
import dev.baton.v1.Progress;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.Result;
import dev.baton.v1.UploadContent;
import dev.baton.v1.Welcome;
import dev.baton.v1.WorkerInfo;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;

/**
 * Who runs what. One thread calls it, inside a transaction over its {@link Stores}; what it wants
 * done outside waits in {@link #drainEffects} until that transaction is on disk. Memory is a cache
 * of the stores, but for sessions, deadlines and progress: where a transaction fails, the caller
 * rolls it back, drops its effects and calls {@link #reload}.
 *
 * <p>A command that throws a {@link CoordinatorException} has changed nothing. Any other exception
 * leaves memory in doubt: roll back and reload.
 *
 * <p>Safety rests on the term alone: each grant raises it, and each write is conditional on (job,
 * term, lease id). Deadlines only decide when somebody else may take the next term.
 */
public final class Scheduler {

  /** {@link #tick} must be called at least this often. */
  public static final long TICK_MS = 250;

  /** The contract's version, as in Hello. */
  public static final int PROTOCOL = 1;

  private static final long MILLI = 1_000_000;

  /** A clock this much later than its tick: we were suspended, or starved. */
  private static final long LATE_NANOS = 1_000 * MILLI;

  private static final int STANDBY_JOBS_PER_SLOT = 4;
  private static final long FIRST_WORKER_FAILURE_WAIT_MS = 5_000;
  private static final int MAX_LOG_PIECE = 256 << 10;

  /** Of one job. */
  static final int MAX_LOG = 16 << 20;

  private static final ByteString LOG_IS_FULL =
      ByteString.copyFromUtf8("\n[the log ends here: it has reached 16 MiB]\n");

  private static final long RELOAD_PAUSE_NANOS = 1_000 * MILLI;

  private final Stores stores;
  private final JobStore jobs;
  private final LeasePolicy policy;
  private final RandomGenerator random;
  private final JobSpecs specs;
  private final long leaseNanos;
  private final long graceNanos;

  private final Outbox outbox = new Outbox();
  private final Fleet fleet;
  private final WaitingQueue waiting = new WaitingQueue();
  private final Timers timers = new Timers();
  private final Map<String, Running> running = new LinkedHashMap<>();

  /** Which worker was told to stand by for a job. */
  private final Map<String, String> standbys = new HashMap<>();

  /** Failures of workers, in a row, over a job. */
  private final Map<String, Integer> workerFailures = new HashMap<>();

  /** How many unfinished jobs refer to a data set, by its name. */
  private final Map<String, Integer> datasetUses = new HashMap<>();

  private long lastSeq;
  private @Nullable Now last;

  /** Nobody's lease ends before: the coordinator cannot know who was silent. */
  private long quietUntilNanos = Long.MIN_VALUE;

  private long placeNotBeforeNanos = Long.MIN_VALUE;

  public Scheduler(Stores stores, LeasePolicy policy, RandomGenerator random) {
    this.stores = stores;
    this.jobs = stores.jobs();
    this.policy = policy;
    this.random = random;
    this.specs = new JobSpecs(name -> stores.datasets().find(name).map(DatasetRecord::dataset));
    this.leaseNanos = policy.lease().toNanos();
    this.graceNanos = policy.grace().toNanos();
    this.fleet = new Fleet(policy.heartbeat().toNanos() * 5 / 2);
  }

  // ---- Life of the coordinator

  /** Loads what is stored. Nobody's lease ends for one whole lease from now on. */
  public void start(Now now) {
    last = now;
    quietUntilNanos = now.nanos() + leaseNanos;
    load(now);
    place(now);
  }

  /**
   * Loads what is stored again after a transaction that failed; keeps sessions, deadlines and
   * progress. Effects that were not drained are dropped. Nothing is granted for a second, so that a
   * full disk does not turn into a storm of reloads.
   */
  public void reload(Now now) {
    outbox.drain();
    load(now);
    placeNotBeforeNanos = now.nanos() + RELOAD_PAUSE_NANOS;
  }

  private void load(Now now) {
    Map<String, Running> before = new HashMap<>(running);
    running.clear();
    waiting.clear();
    timers.clear();
    standbys.clear();
    datasetUses.clear();
    for (Worker worker : List.copyOf(fleet.all())) {
      worker.dropAll();
      worker.told.clear();
    }
    lastSeq = jobs.lastSeq();
    List<Job> leased = new ArrayList<>();
    jobs.forEachUnfinished(
        job -> {
          countDatasets(job, 1);
          if (job.state() == JobState.QUEUED) {
            enqueue(job, "", now);
          } else if (job.state().leased()) {
            leased.add(job);
          }
        });
    for (Job job : leased) {
      Attempt attempt =
          jobs.attempt(job.id(), job.term())
              .orElseThrow(
                  () -> new IllegalStateException("job " + job.id() + " runs without an attempt"));
      Running loaded = new Running(job, attempt, now.nanos() + leaseNanos);
      @Nullable Running known = before.get(job.id());
      if (known != null && known.lease().equals(attempt.lease())) {
        loaded.deadlineNanos = known.deadlineNanos;
        loaded.brokenAtNanos = known.brokenAtNanos;
        loaded.progress = known.progress;
        loaded.attempt = attempt.stepped(known.attempt.firstStep(), known.attempt.lastStep());
      }
      running.put(job.id(), loaded);
      fleet.get(attempt.lease().workerId(), attempt.lease().workerName()).take(loaded);
      arm(loaded);
    }
    for (Worker worker : List.copyOf(fleet.all())) {
      fleet.update(worker);
      fleet.forgetIfGone(worker);
    }
  }

  /** Looks at what is due. To be called every {@link #TICK_MS} or sooner. */
  public void tick(Now now) {
    observe(now);
    Timers.@Nullable Timer timer;
    while ((timer = timers.poll(now.nanos())) != null) {
      Running job = running.get(timer.jobId());
      if (job != null) {
        if (job.timerNanos == timer.nanos()) {
          job.timerNanos = Long.MAX_VALUE;
        }
        if (!job.available) {
          if (freeAt(job) <= now.nanos()) {
            leaseEnded(job, now);
          } else {
            arm(job);
          }
        }
      }
      waiting.ring(timer.jobId(), now.nanos());
    }
    place(now);
  }

  /** When the next timer is due, in {@link Now#nanos}. */
  public OptionalLong nextTimer() {
    return timers.next();
  }

  /** What is to be done now that the transaction is on disk, in order. */
  public List<Effect> drainEffects() {
    return outbox.drain();
  }

  /**
   * A clock that is late means that heartbeats may have waited unread: as after a restart, nobody's
   * lease ends for one whole lease. A monotonic clock may stand still while the host is suspended;
   * the other one does not.
   */
  private void observe(Now now) {
    Now before = last;
    last = now;
    if (before == null) {
      throw new IllegalStateException("start() comes first");
    }
    long ticked = now.nanos() - before.nanos();
    long jumped = (now.epochMs() - before.epochMs()) * MILLI - ticked;
    if (ticked > TICK_MS * MILLI + LATE_NANOS || jumped > LATE_NANOS) {
      quietUntilNanos = now.nanos() + leaseNanos;
      for (Running job : running.values()) {
        job.deadlineNanos = Math.max(job.deadlineNanos, quietUntilNanos);
        takeBack(job);
      }
      for (Worker worker : fleet.all()) {
        if (worker.connected) {
          worker.lastHeardNanos = now.nanos();
        }
      }
    }
  }

  // ---- Clients

  /**
   * Stores a job.
   *
   * @return its id; that of the first one where the request id is repeated
   */
  public String submit(String requestId, JobSpec spec, Now now) {
    observe(now);
    if (requestId.isEmpty() || requestId.length() > 100) {
      throw invalid("request_id: it must be a random UUID");
    }
    JobSpec complete;
    try {
      complete = specs.complete(spec);
    } catch (CoordinatorException e) {
      // What was accepted once stays accepted, whatever became of its data since.
      Optional<Job> first = jobs.findByRequest(requestId);
      if (first.isPresent()) {
        return first.get().id();
      }
      throw e;
    }
    Job job =
        Job.submitted(
            Ids.job(random),
            new Submission(
                lastSeq + 1, requestId, complete, JobSpecs.digest(complete), now.epochMs()));
    if (!jobs.insert(job)) {
      return jobs.findByRequest(requestId).orElseThrow().id();
    }
    lastSeq++;
    countDatasets(job, 1);
    enqueue(job, "", now);
    outbox.notify(job, "state", "submitted", now);
    place(now);
    return job.id();
  }

  /** Ends a job. */
  public void cancel(String jobId, Now now) {
    change(jobId, new JobEvent.Cancel(), now);
  }

  /** Has a job handed back, and keeps it from being leased. */
  public void pause(String jobId, Now now) {
    change(jobId, new JobEvent.Pause(), now);
  }

  /** Queues a paused job again. */
  public void resume(String jobId, Now now) {
    change(jobId, new JobEvent.Resume(), now);
  }

  private void change(String jobId, JobEvent event, Now now) {
    observe(now);
    Running held = running.get(jobId);
    Job job = held != null ? held.job : find(jobId);
    Job next = next(job, event, now);
    if (next.equals(job)) {
      return;
    }
    if (held == null) {
      write(next, job.fence());
      waiting.remove(jobId);
      if (next.state() == JobState.QUEUED) {
        enqueue(next, "", now);
      }
      settle(next, now);
    } else if (next.state().leased()) {
      if (next.state() == JobState.PAUSING && held.available) {
        // Its lease has ended, and nobody is there to hand it over.
        Job paused = next(next, new JobEvent.Released("paused"), now);
        endLease(held, paused, endReason(held), AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED, now);
      } else {
        write(next, job.fence());
        held.job = next;
        if (next.state() == JobState.PAUSING) {
          unprepare(jobId);
          order(held, OrderKind.ORDER_KIND_HAND_OVER, "paused");
        }
        outbox.notify(next, "message", next.reason().isEmpty() ? "resumed" : next.reason(), now);
      }
    } else {
      order(held, OrderKind.ORDER_KIND_CANCEL, next.reason());
      endLease(held, next, next.reason(), AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED, now);
    }
    place(now);
  }

  /** A job as its user sees it, whole. */
  public dev.baton.v1.Job view(String jobId, Now now) {
    Job job = find(jobId);
    List<Attempt> attempts = new ArrayList<>(jobs.attempts(jobId));
    @Nullable Running live = running.get(jobId);
    if (live != null && !attempts.isEmpty()) {
      attempts.set(attempts.size() - 1, live.attempt);
    }
    return JobViews.job(job, reason(job, now), progress(job), attempts, jobs.checkpoints(jobId));
  }

  /** Jobs as users see them, newest first, each with its last attempt and checkpoint alone. */
  public List<dev.baton.v1.Job> list(Set<JobState> states, int limit, Now now) {
    List<dev.baton.v1.Job> views = new ArrayList<>();
    for (Job job : jobs.list(states, limit)) {
      @Nullable Running live = running.get(job.id());
      List<Attempt> attempts =
          live != null
              ? List.of(live.attempt)
              : job.term() == 0 ? List.of() : jobs.attempt(job.id(), job.term()).stream().toList();
      List<CheckpointRecord> checkpoints = job.term() == 0 ? List.of() : jobs.checkpoints(job.id());
      views.add(
          JobViews.job(
              job,
              reason(job, now),
              progress(job),
              attempts,
              checkpoints.subList(Math.max(0, checkpoints.size() - 1), checkpoints.size())));
    }
    return views;
  }

  private Progress progress(Job job) {
    @Nullable Running live = running.get(job.id());
    return live == null ? job.progress() : live.progress;
  }

  /** Why a job waits or why it ended, in one line. */
  private String reason(Job job, Now now) {
    @Nullable Running held = running.get(job.id());
    if (held != null) {
      if (held.available) {
        return "worker " + held.lease().workerName() + " is silent; " + noRoom(waitingOf(held));
      }
      @Nullable Worker holder = fleet.find(held.lease().workerId());
      if (holder == null || !holder.connected) {
        long seconds = Math.max(0, freeAt(held) - now.nanos()) / (1_000 * MILLI);
        return "worker "
            + held.lease().workerName()
            + " is silent; its lease runs "
            + seconds
            + " s more";
      }
      return held.notStored.isEmpty() ? job.reason() : notStored(held.notStored);
    }
    @Nullable Waiting waits = waiting.find(job.id());
    if (waits == null) {
      return job.reason();
    }
    String before = job.reason().isEmpty() ? "" : job.reason() + "; ";
    if (waits.notBeforeNanos() > now.nanos()) {
      long seconds = (waits.notBeforeNanos() - now.nanos() + 999 * MILLI) / (1_000 * MILLI);
      return before + "waits " + seconds + " s before it is tried again";
    }
    return before + noRoom(waits);
  }

  private String noRoom(Waiting job) {
    int connected = 0;
    int able = 0;
    String lacks = "";
    for (Worker worker : fleet.all()) {
      if (worker.mayTakeJobs()) {
        connected++;
        Optional<String> lack = job.needs().lackedBy(worker.machine);
        if (lack.isEmpty()) {
          able++;
        } else if (lacks.isEmpty()) {
          lacks = worker.name + ": " + lack.get();
        }
      }
    }
    if (connected == 0) {
      return "no worker is connected";
    }
    if (able == 0) {
      return "none of " + connected + " connected workers fits (" + lacks + ")";
    }
    return able == 1
        ? "the one worker that fits is busy"
        : "all " + able + " workers that fit are busy";
  }

  // ---- Workers

  /**
   * A worker's stream begins.
   *
   * @throws CoordinatorException ABORTED where a newer one exists
   */
  public void openSession(Hello hello, Now now) {
    observe(now);
    if (hello.getProtocol() != PROTOCOL) {
      throw precondition(
          "the worker speaks protocol "
              + hello.getProtocol()
              + ", this coordinator "
              + PROTOCOL
              + "; install the same release on both");
    }
    if (hello.getWorkerId().isEmpty() || hello.getSession() < 1 || hello.getSlots() < 1) {
      throw invalid("hello: worker_id, session and slots must be set");
    }
    @Nullable Worker known = fleet.find(hello.getWorkerId());
    if (known != null && hello.getSession() <= known.session) {
      throw aborted(
          "session "
              + hello.getSession()
              + " of worker "
              + known.name
              + " is over; "
              + known.session
              + " is there");
    }
    if (known != null && known.connected) {
      outbox.add(new Effect.CloseSession(known.id, known.session, "a newer session exists"));
    }
    Worker worker = fleet.get(hello.getWorkerId(), hello.getName());
    worker.greet(hello, now);
    Welcome.Builder welcome =
        Welcome.newBuilder()
            .setHeartbeatIntervalMs(policy.heartbeat().toMillis())
            .setLeaseMs(policy.lease().toMillis());
    Set<String> listed = new HashSet<>();
    List<Running> renewed = new ArrayList<>();
    for (LeaseRef ref : hello.getLeasesList()) {
      @Nullable Running held = current(ref, worker.id);
      if (held == null) {
        welcome.addEnded(ref);
      } else if (listed.add(ref.getJobId())) {
        renew(held, now);
        renewed.add(held);
        welcome.addRenewed(ref);
      }
    }
    outbox.send(worker, CoordinatorMessage.newBuilder().setWelcome(welcome).build());
    for (String jobId : List.copyOf(worker.heldIds())) {
      @Nullable Running held = running.get(jobId);
      if (held != null && !listed.contains(jobId)) {
        Job next = next(held.job, new JobEvent.Released("given up by its worker"), now);
        endLease(
            held, next, "given up by its worker", AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED, now);
      }
    }
    for (Running held : renewed) {
      if (held.job.state() == JobState.PAUSING) {
        order(held, OrderKind.ORDER_KIND_HAND_OVER, "paused");
      }
      standBy(held, worker.draining, now);
    }
    if (worker.drainWanted && !worker.draining) {
      orderDrain(worker);
    }
    fleet.update(worker);
    place(now);
  }

  /** Renews the leases that are listed. */
  public void heartbeat(String workerId, long session, Heartbeat heartbeat, Now now) {
    observe(now);
    Worker worker = inSession(workerId, session);
    boolean wasSilent = worker.heard(now);
    worker.prepared.clear();
    worker.prepared.addAll(heartbeat.getPreparedJobsList());
    HeartbeatReply.Builder reply = HeartbeatReply.newBuilder().setSeq(heartbeat.getSeq());
    for (LeaseRef ref : heartbeat.getLeasesList()) {
      @Nullable Running held = current(ref, workerId);
      if (held == null) {
        reply.addEnded(ref);
      } else {
        renew(held, now);
        reply.addRenewed(ref);
        standBy(held, false, now);
      }
    }
    outbox.send(worker, CoordinatorMessage.newBuilder().setHeartbeatReply(reply).build());
    if (wasSilent) {
      fleet.update(worker);
    }
    place(now);
  }

  /** Takes note of progress. What comes late, or of a term that is over, is dropped. */
  public void progress(String workerId, long session, ProgressReport report, Now now) {
    observe(now);
    inSession(workerId, session);
    @Nullable Running held = current(report.getLease(), workerId);
    if (held == null || !held.attempt.begun()) {
      return;
    }
    Progress progress = report.getProgress();
    long step = progress.getStep();
    boolean stepped = step > held.attempt.lastStep() && step > held.attempt.resumedStep();
    if (step < held.progress.getStep()) {
      return;
    }
    held.progress =
        progress.getTotalSteps() > 0
            ? progress
            : progress.toBuilder().setTotalSteps(held.progress.getTotalSteps()).build();
    if (stepped) {
      held.attempt = stepped(held.attempt, step);
    }
    dev.baton.v1.JobEvent.Builder event =
        dev.baton.v1.JobEvent.newBuilder()
            .setTimeMs(now.epochMs())
            .setState(JobViews.state(held.job.state()))
            .setEvent(stepped ? "step" : "message")
            .addWorkers(held.lease().workerName())
            .setProgress(held.progress);
    if (stepped) {
      event.setStep(step);
      if (progress.hasLoss()) {
        event.setLoss(progress.getLoss());
      }
    } else {
      event.setMessage(progress.getPhase());
    }
    outbox.add(new Effect.Notify(held.job.id(), event.build()));
    standBy(held, false, now);
  }

  private static Attempt stepped(Attempt attempt, long lastStep) {
    return attempt.stepped(
        attempt.firstStep() > 0 ? attempt.firstStep() : attempt.resumedStep() + 1,
        Math.max(attempt.lastStep(), lastStep));
  }

  /** The worker takes no more jobs and hands over what it holds. */
  public void draining(String workerId, long session, Draining message, Now now) {
    observe(now);
    drain(inSession(workerId, session), message.getReason(), now);
    place(now);
  }

  private void drain(Worker worker, String reason, Now now) {
    worker.draining = true;
    fleet.update(worker);
    for (Running held : List.copyOf(worker.heldJobs())) {
      outbox.notify(held.job, "message", "worker " + worker.name + " leaves: " + reason, now);
      standBy(held, true, now);
    }
  }

  /** A worker's stream is gone, however it ended. That of an older session means nothing. */
  public void closeSession(String workerId, long session, Now now) {
    observe(now);
    @Nullable Worker worker = fleet.find(workerId);
    if (worker == null || !worker.connected || worker.session != session) {
      return;
    }
    worker.disconnect();
    fleet.update(worker);
    for (Running held : List.copyOf(worker.heldJobs())) {
      held.brokenAtNanos = now.nanos();
      arm(held);
      prepare(waitingOf(held), held.job, worker, false, now);
    }
    fleet.forgetIfGone(worker);
    place(now);
  }

  /** Every worker that is connected or whose leases still stand. */
  public List<WorkerInfo> workers() {
    return fleet.all().stream().map(Scheduler::info).toList();
  }

  /** Has a worker hand over its jobs and take no more. By id, or by a name that one worker has. */
  public WorkerInfo drainWorker(String idOrName, Now now) {
    observe(now);
    List<Worker> named =
        fleet.all().stream().filter(w -> w.id.equals(idOrName) || w.name.equals(idOrName)).toList();
    if (named.isEmpty()) {
      throw notFound("there is no worker " + idOrName);
    }
    if (named.size() > 1) {
      throw precondition(
          named.size()
              + " workers are named "
              + idOrName
              + "; use an id: "
              + String.join(", ", named.stream().map(w -> w.id).toList()));
    }
    Worker worker = named.get(0);
    worker.drainWanted = true;
    fleet.update(worker);
    orderDrain(worker);
    for (Running held : List.copyOf(worker.heldJobs())) {
      standBy(held, true, now);
    }
    place(now);
    return info(worker);
  }

  private static WorkerInfo info(Worker worker) {
    return WorkerInfo.newBuilder()
        .setId(worker.id)
        .setName(worker.name)
        .setState(
            !worker.connected
                ? "LOST"
                : worker.draining || worker.drainWanted ? "DRAINING" : "ACTIVE")
        .setMachine(worker.machine)
        .setSlots(worker.slots)
        .addAllJobs(worker.heldIds())
        .setConnectedAtMs(worker.connectedAtMs)
        .build();
  }

  // ---- What a worker does with its lease

  /** The attempt's state is restored; withdraws what lies beyond it. */
  public void beginAttempt(BeginAttemptRequest request, Now now) {
    observe(now);
    Running held = live(request.getLease());
    if (held.attempt.begun()) {
      // Repeated, perhaps late: what was committed since must stay.
      return;
    }
    Job job = held.job;
    List<CheckpointRecord> checkpoints = jobs.checkpoints(job.id());
    long resumed = request.getResumedStep();
    boolean known =
        request.getCheckpointId().isEmpty()
            ? resumed == 0
            : checkpoints.stream()
                .anyMatch(c -> c.id().equals(request.getCheckpointId()) && c.step() == resumed);
    if (!known) {
      throw precondition(
          "job "
              + job.id()
              + " has no checkpoint '"
              + request.getCheckpointId()
              + "' of step "
              + resumed);
    }
    String firstKind = job.kind().first();
    if (job.spec().getResources().getSameKind()
        && !firstKind.isEmpty()
        && !firstKind.equals(request.getKind())) {
      throw precondition(
          "job "
              + job.id()
              + " wants the kind that it began on, "
              + firstKind
              + "; this is "
              + request.getKind());
    }
    Job next = next(job, new JobEvent.Began(request.getKind()), now);
    if (next.kind().changed() && !job.kind().changed()) {
      outbox.notify(
          next, "message", "the kind changed from " + firstKind + " to " + request.getKind(), now);
    }
    if (!next.equals(job)) {
      write(next, job.fence());
    }
    held.job = next;
    Map<String, String> damaged = new HashMap<>();
    for (DamagedCheckpoint found : request.getDamagedList()) {
      damaged.put(found.getCheckpointId(), found.getReason());
    }
    for (CheckpointRecord checkpoint : checkpoints) {
      String reason = damaged.get(checkpoint.id());
      if (reason != null) {
        outbox.notify(
            next,
            "checkpoint_damaged",
            "the checkpoint of step " + checkpoint.step() + " is damaged: " + reason,
            now);
      }
      if (reason != null || checkpoint.step() > resumed) {
        discard(checkpoint);
      }
    }
    jobs.deleteMetricsBeyond(job.id(), resumed);
    held.attempt = held.attempt.began(resumed, request.getKind());
    jobs.updateAttempt(held.attempt);
    held.progress =
        Progress.newBuilder()
            .setStep(resumed)
            .setTotalSteps(request.getTotalSteps())
            .setPhase("preparing")
            .build();
    outbox.notify(
        next,
        "attempt_started",
        "attempt "
            + held.attempt.number()
            + " on "
            + held.lease().workerName()
            + (resumed == 0 ? ", from the beginning" : ", from step " + resumed),
        now);
  }

  /**
   * Notes an object that a worker is about to send.
   *
   * @return what was noted, now or by an earlier call with this id
   */
  public Upload createUpload(CreateUploadRequest request, Now now) {
    observe(now);
    Running held = live(request.getLease());
    return createUpload(
        request.getUploadId(),
        held.job.id(),
        held.lease().term(),
        ObjectKeys.forJob(held.job.id(), held.lease().term()),
        request.getContent(),
        now);
  }

  private Upload createUpload(
      String uploadId, String jobId, long term, String key, UploadContent content, Now now) {
    if (uploadId.isEmpty() || uploadId.length() > 100) {
      throw invalid("upload_id: it must be a random UUID");
    }
    Optional<Upload> known = stores.uploads().find(uploadId);
    if (known.isPresent()) {
      Upload upload = known.get();
      if (!upload.jobId().equals(jobId)
          || upload.term() != term
          || !upload.content().equals(content)) {
        throw invalid("upload_id: " + uploadId + " names another upload; use a new UUID for each");
      }
      return upload;
    }
    if (content.getBytes() < 1
        || content.getPartsCount() < 1
        || content.getPartsList().stream().mapToLong(p -> p.getBytes()).sum()
            != content.getBytes()) {
      throw invalid("content.parts: their bytes must add up to content.bytes, at least 1");
    }
    Upload upload =
        new Upload(uploadId, jobId, term, key, "", content, now.epochMs(), Upload.State.OPEN);
    stores.uploads().insert(upload);
    return upload;
  }

  /** Says of a running job that the object store has no room for what its worker would store. */
  public void storageRefused(LeaseRef lease, String why, Now now) {
    observe(now);
    @Nullable Running held = running.get(lease.getJobId());
    if (held == null || held.lease().term() != lease.getTerm()) {
      return;
    }
    // Once for each time that the space runs out, not for each try.
    if (held.notStored.isEmpty()) {
      outbox.notify(held.job, "message", notStored(why), now);
    }
    held.notStored = why;
  }

  private static String notStored(String why) {
    return "it goes on, but its worker cannot store anything and keeps trying: " + why;
  }

  /** Notes the store's name of a multipart upload that was begun. */
  public void multipartStarted(String uploadId, String multipartId) {
    stores.uploads().setMultipartId(uploadId, multipartId);
  }

  /**
   * An upload of this lease, to be verified with the object store before it is committed.
   *
   * @throws CoordinatorException ABORTED where the term is over and the upload was never committed
   */
  public Upload uploadOf(LeaseRef lease, String uploadId) {
    Optional<Upload> known = stores.uploads().find(uploadId);
    if (known.isEmpty()) {
      // Of a term that is over, the sweep may have taken it.
      live(lease);
      throw invalid("upload_id: there is no upload " + uploadId);
    }
    Upload upload = known.get();
    if (!upload.jobId().equals(lease.getJobId()) || upload.term() != lease.getTerm()) {
      throw invalid("upload_id: " + uploadId + " does not belong to this lease");
    }
    if (upload.state() == Upload.State.OPEN) {
      live(lease);
    } else {
      attemptOf(lease);
    }
    return upload;
  }

  /**
   * Makes a checkpoint exist. The caller has verified the upload with the object store.
   *
   * @return the checkpoint's id
   */
  public String commitCheckpoint(CommitCheckpointRequest request, Now now) {
    observe(now);
    Upload upload = uploadOf(request.getLease(), request.getUpload().getUploadId());
    if (upload.state() != Upload.State.OPEN) {
      return upload.uploadId();
    }
    Running held = live(request.getLease());
    Job job = held.job;
    long step = request.getStep();
    if (!held.attempt.begun()) {
      throw precondition("job " + job.id() + ": BeginAttempt comes before CommitCheckpoint");
    }
    List<CheckpointRecord> checkpoints = jobs.checkpoints(job.id());
    long newest = checkpoints.isEmpty() ? -1 : checkpoints.get(checkpoints.size() - 1).step();
    if (step < Math.max(newest, held.attempt.resumedStep())) {
      throw invalid(
          "step: it is "
              + step
              + ", but step "
              + Math.max(newest, held.attempt.resumedStep())
              + " is committed already");
    }
    checkPoints(request.getPointsList(), step);
    if (step == newest) {
      // The same state once more, sent only to hand the lease back.
      stores.uploads().setState(upload.uploadId(), Upload.State.DISCARDED);
    } else {
      jobs.insertCheckpoint(
          new CheckpointRecord(
              upload.uploadId(),
              job.id(),
              held.lease().term(),
              step,
              upload.content().getBytes(),
              upload.content().getSha256(),
              upload.objectKey(),
              now.epochMs()));
      stores.uploads().setState(upload.uploadId(), Upload.State.KEPT);
      int excess = checkpoints.size() + 1 - job.spec().getCheckpoint().getKeep();
      checkpoints
          .subList(0, Math.max(0, Math.min(excess, checkpoints.size())))
          .forEach(this::discard);
    }
    jobs.putMetrics(job.id(), request.getPointsList());
    workerFailures.remove(job.id());
    if (step > held.progress.getStep()) {
      held.progress = held.progress.toBuilder().setStep(step).build();
    }
    Job committed =
        next(job, new JobEvent.Committed(held.progress.toBuilder().setStep(step).build()), now);
    if (step > held.attempt.resumedStep()) {
      held.attempt = stepped(held.attempt, step);
    }
    held.notStored = "";
    outbox.notify(committed, "checkpoint", "checkpoint of step " + step, now);
    if (request.getRelease()) {
      String reason =
          request.getReleaseReason().isEmpty() ? "handed over" : request.getReleaseReason();
      endLease(
          held,
          next(committed, new JobEvent.Released(reason), now),
          reason,
          AttemptOutcome.ATTEMPT_OUTCOME_RELEASED,
          now);
      place(now);
    } else {
      write(committed, job.fence());
      jobs.updateAttempt(held.attempt);
      held.job = committed;
    }
    return upload.uploadId();
  }

  private static void checkPoints(List<MetricPoint> points, long lastStep) {
    for (MetricPoint point : points) {
      if (point.getStep() > lastStep) {
        throw invalid(
            "points: "
                + point.getSeries()
                + " of step "
                + point.getStep()
                + " lies beyond step "
                + lastStep);
      }
    }
  }

  /** Ends the attempt, and the lease. The caller has verified its artifacts' uploads. */
  public void finishAttempt(FinishAttemptRequest request, Now now) {
    observe(now);
    Attempt attempt = attemptOf(request.getLease());
    if (attempt.ended() && attempt.outcome() == request.getOutcome()) {
      return;
    }
    Running held = live(request.getLease());
    Job job = held.job;
    if (request.getOutcome() == AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED
        || request.getOutcome() == AttemptOutcome.UNRECOGNIZED) {
      throw invalid("outcome: it must be set");
    }
    boolean done = request.getOutcome() == AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED;
    if (done && !held.attempt.begun()) {
      throw precondition("job " + job.id() + ": BeginAttempt comes before FinishAttempt");
    }
    List<Upload> files = new ArrayList<>();
    for (NewArtifact artifact : request.getArtifactsList()) {
      files.add(uploadOf(request.getLease(), artifact.getUpload().getUploadId()));
    }
    long lastStep = Math.max(request.getLastStep(), held.attempt.lastStep());
    if (lastStep > held.attempt.resumedStep() && held.attempt.begun()) {
      held.attempt = stepped(held.attempt, lastStep);
    }
    if (lastStep > held.progress.getStep()) {
      held.progress = held.progress.toBuilder().setStep(lastStep).build();
    }
    held.progress = held.progress.toBuilder().setPhase("").build();
    String message =
        request.getMessage().isEmpty() ? outcomeName(request.getOutcome()) : request.getMessage();
    boolean declined =
        !held.attempt.begun() && request.getOutcome() == AttemptOutcome.ATTEMPT_OUTCOME_RELEASED;
    JobEvent event =
        switch (request.getOutcome()) {
          case ATTEMPT_OUTCOME_SUCCEEDED ->
              new JobEvent.Succeeded(result(job, request.getResult()), held.progress);
          case ATTEMPT_OUTCOME_USER_ERROR,
              ATTEMPT_OUTCOME_NAN_LOSS,
              ATTEMPT_OUTCOME_OUT_OF_MEMORY ->
              new JobEvent.Failed(message);
          case ATTEMPT_OUTCOME_CRASHED, ATTEMPT_OUTCOME_STALLED -> new JobEvent.Crashed(message);
          case ATTEMPT_OUTCOME_KILLED -> new JobEvent.Killed(message);
          case ATTEMPT_OUTCOME_RELEASED ->
              declined
                  ? new JobEvent.Declined(message, declinedWait(held, now))
                  : new JobEvent.Released(message);
          case ATTEMPT_OUTCOME_WORKER_ERROR ->
              new JobEvent.WorkerFailed(message, workerFailedWait(job.id(), now));
          case ATTEMPT_OUTCOME_UNSPECIFIED, UNRECOGNIZED ->
              throw new IllegalStateException("checked above");
        };
    Job next = next(job, event, now);
    if (done) {
      for (int i = 0; i < files.size(); i++) {
        Upload file = files.get(i);
        jobs.putArtifact(
            new ArtifactRecord(
                job.id(),
                request.getArtifacts(i).getName(),
                file.content().getBytes(),
                file.content().getSha256(),
                file.objectKey(),
                now.epochMs()));
        stores.uploads().setState(file.uploadId(), Upload.State.KEPT);
      }
    }
    // A job that goes on begins again at its newest checkpoint, and withdraws points beyond that.
    if (next.state().ended()) {
      jobs.putMetrics(job.id(), request.getPointsList());
    }
    if (next.state().ended() && !done) {
      next = next.with(held.progress);
    }
    endLease(held, next, outcomeName(request.getOutcome()), request.getOutcome(), now);
    place(now);
  }

  private static Result result(Job job, Result result) {
    return result.toBuilder()
        .setExact(job.spec().getTraining().getExact() && !job.kind().changed())
        .build();
  }

  private static String outcomeName(AttemptOutcome outcome) {
    return switch (outcome) {
      case ATTEMPT_OUTCOME_SUCCEEDED -> "succeeded";
      case ATTEMPT_OUTCOME_USER_ERROR -> "failed";
      case ATTEMPT_OUTCOME_NAN_LOSS -> "NaN loss";
      case ATTEMPT_OUTCOME_OUT_OF_MEMORY -> "out of memory";
      case ATTEMPT_OUTCOME_CRASHED -> "crashed";
      case ATTEMPT_OUTCOME_STALLED -> "stalled";
      case ATTEMPT_OUTCOME_KILLED -> "killed";
      case ATTEMPT_OUTCOME_RELEASED -> "handed over";
      case ATTEMPT_OUTCOME_WORKER_ERROR -> "worker error";
      case ATTEMPT_OUTCOME_UNSPECIFIED, UNRECOGNIZED -> "ended";
    };
  }

  /** A job whose offer came back goes to others at once, and waits where it always comes back. */
  private long declinedWait(Running held, Now now) {
    @Nullable Worker holder = fleet.find(held.lease().workerId());
    if (holder == null || !holder.mayTakeJobs()) {
      return 0;
    }
    int inARow = workerFailures.merge(held.job.id(), 1, Integer::sum);
    return inARow == 1 ? 0 : now.epochMs() + JobTransitions.backoffMs(1_000, inARow - 1);
  }

  private long workerFailedWait(String jobId, Now now) {
    int inARow = workerFailures.merge(jobId, 1, Integer::sum);
    return now.epochMs() + JobTransitions.backoffMs(FIRST_WORKER_FAILURE_WAIT_MS, inARow);
  }

  /**
   * Appends to a job's log.
   *
   * @return where this term's next piece goes
   */
  public long appendLog(AppendLogRequest request, Now now) {
    observe(now);
    Running held = live(request.getLease());
    if (request.getData().size() > MAX_LOG_PIECE || request.getOffset() < 0) {
      throw invalid("data: at most 256 KiB, at an offset of 0 or more");
    }
    LogPosition end = held.logEnd;
    if (end == null) {
      end = stores.logs().end(held.job.id(), held.lease().term());
    }
    if (end.inJob() >= MAX_LOG) {
      // Taken, so that the worker goes on, and dropped: the note at the log's end says so.
      held.logEnd = end;
      return request.getOffset() + request.getData().size();
    }
    long skip = end.inTerm() - request.getOffset();
    if (skip >= 0 && skip < request.getData().size()) {
      ByteString fresh = request.getData().substring((int) skip);
      if (end.inJob() + fresh.size() >= MAX_LOG) {
        fresh = fresh.concat(LOG_IS_FULL);
      }
      stores.logs().append(held.job.id(), held.lease().term(), end, fresh);
      end = new LogPosition(end.inTerm() + fresh.size(), end.inJob() + fresh.size());
      outbox.add(new Effect.LogGrew(held.job.id(), end.inJob()));
    }
    held.logEnd = end;
    return end.inTerm();
  }

  /** An object that this worker may read: it holds the job, or was told to prepare it. */
  public StoredObject download(CreateDownloadRequest request) {
    String jobId = request.getJobId();
    @Nullable Worker worker = fleet.find(request.getWorkerId());
    if (worker == null || !(worker.holds(jobId) || worker.told.containsKey(jobId))) {
      throw denied("this worker neither holds job " + jobId + " nor was told to prepare it");
    }
    return switch (request.getObjectCase()) {
      case DATASET_FILE -> datasetFile(find(jobId), request.getDatasetFile());
      case CHECKPOINT_ID ->
          jobs.checkpoints(jobId).stream()
              .filter(c -> c.id().equals(request.getCheckpointId()))
              .findFirst()
              .map(c -> new StoredObject(c.objectKey(), c.bytes(), c.sha256()))
              .orElseThrow(
                  () ->
                      notFound("job " + jobId + " has no checkpoint " + request.getCheckpointId()));
      case OBJECT_NOT_SET -> throw invalid("object: it must be set");
    };
  }

  private StoredObject datasetFile(Job job, DatasetFileRef file) {
    for (DatasetRecord record : datasets(job.spec())) {
      Dataset dataset = record.dataset();
      for (int i = 0; i < dataset.getFilesCount(); i++) {
        if (dataset.getDigest().equals(file.getDigest())
            && dataset.getFiles(i).getPath().equals(file.getPath())) {
          return new StoredObject(
              record.objectKeys().get(i),
              dataset.getFiles(i).getBytes(),
              dataset.getFiles(i).getSha256());
        }
      }
    }
    throw notFound(
        "job "
            + job.id()
            + " names no data set of digest "
            + file.getDigest()
            + " with a file "
            + file.getPath());
  }

  // ---- Data sets

  /** Notes a file of a data set that is about to be sent. */
  public Upload createDatasetUpload(String uploadId, UploadContent content, Now now) {
    observe(now);
    return createUpload(uploadId, "", 0, ObjectKeys.forDataset(), content, now);
  }

  /** An upload of a data set's file, to be verified with the object store. */
  public Upload datasetUpload(String uploadId) {
    return stores
        .uploads()
        .find(uploadId)
        .filter(u -> u.jobId().isEmpty())
        .orElseThrow(() -> invalid("upload_id: there is no upload " + uploadId));
  }

  /**
   * Makes a data set exist. The caller has verified the uploads; digest and time are filled in
   * here.
   *
   * @param uploadIds one for each of the data set's files
   * @return the data set as it is stored
   */
  public Dataset commitDataset(Dataset said, List<String> uploadIds, Now now) {
    observe(now);
    DatasetChecks.check(said);
    Dataset dataset =
        said.toBuilder()
            .setDigest(DatasetDigests.digest(said))
            .setCreatedAtMs(now.epochMs())
            .build();
    Optional<DatasetRecord> known = stores.datasets().find(dataset.getName());
    if (known.isPresent()) {
      if (!known.get().dataset().getDigest().equals(dataset.getDigest())) {
        throw precondition(
            "dataset.name: "
                + dataset.getName()
                + " exists with other contents; choose another name, or remove it first");
      }
      return known.get().dataset();
    }
    if (uploadIds.size() != dataset.getFilesCount()) {
      throw invalid(
          "uploads: there are " + uploadIds.size() + " for " + dataset.getFilesCount() + " files");
    }
    List<String> keys = new ArrayList<>();
    for (int i = 0; i < uploadIds.size(); i++) {
      Upload upload = datasetUpload(uploadIds.get(i));
      if (upload.state() != Upload.State.OPEN
          || upload.content().getBytes() != dataset.getFiles(i).getBytes()
          || !upload.content().getSha256().equals(dataset.getFiles(i).getSha256())) {
        throw invalid(
            "uploads[" + i + "]: it is not an upload of " + dataset.getFiles(i).getPath());
      }
      keys.add(upload.objectKey());
    }
    stores.datasets().insert(new DatasetRecord(dataset, keys));
    uploadIds.forEach(id -> stores.uploads().setState(id, Upload.State.KEPT));
    return dataset;
  }

  /** Removes a data set that no unfinished job refers to; the sweep takes its objects. */
  public void deleteDataset(String name, Now now) {
    observe(now);
    DatasetRecord record =
        stores.datasets().find(name).orElseThrow(() -> notFound("there is no data set " + name));
    int uses = datasetUses.getOrDefault(name, 0);
    if (uses > 0) {
      throw precondition(
          "data set "
              + name
              + " is needed by "
              + uses
              + (uses == 1 ? " unfinished job" : " unfinished jobs"));
    }
    stores.datasets().delete(name);
    record.objectKeys().forEach(stores.uploads()::discardKey);
  }

  // ---- Leases

  /** The lease that a worker names, if its term is the job's current one. */
  private @Nullable Running current(LeaseRef ref, String workerId) {
    Running held = running.get(ref.getJobId());
    return held != null
            && held.lease().term() == ref.getTerm()
            && held.lease().leaseId().equals(ref.getLeaseId())
            && held.lease().workerId().equals(workerId)
        ? held
        : null;
  }

  /**
   * The job under a lease whose term is the current one. That its time is up does not matter while
   * nobody has taken the next.
   */
  private Running live(LeaseRef ref) {
    Running held = running.get(ref.getJobId());
    if (held == null
        || held.lease().term() != ref.getTerm()
        || !held.lease().leaseId().equals(ref.getLeaseId())) {
      throw aborted("job " + ref.getJobId() + ": term " + ref.getTerm() + " is over");
    }
    return held;
  }

  /** The attempt of a lease that exists or existed. */
  private Attempt attemptOf(LeaseRef ref) {
    @Nullable Running held = running.get(ref.getJobId());
    if (held != null && held.lease().term() == ref.getTerm()) {
      return live(ref).attempt;
    }
    return jobs.attempt(ref.getJobId(), ref.getTerm())
        .filter(a -> a.lease().leaseId().equals(ref.getLeaseId()))
        .orElseThrow(() -> aborted("job " + ref.getJobId() + ": there is no such lease"));
  }

  private void renew(Running held, Now now) {
    held.deadlineNanos = now.nanos() + leaseNanos;
    held.brokenAtNanos = Long.MAX_VALUE;
    takeBack(held);
    if (held.timerNanos == Long.MAX_VALUE) {
      arm(held);
    }
  }

  /** The holder is back, or may be: nobody else gets the job for now. */
  private void takeBack(Running held) {
    if (held.available) {
      held.available = false;
      waiting.remove(held.job.id());
      arm(held);
    }
  }

  /** When somebody else may take the next term. */
  private long freeAt(Running held) {
    long at = held.deadlineNanos;
    if (held.brokenAtNanos != Long.MAX_VALUE) {
      at = Math.min(at, held.brokenAtNanos + graceNanos);
    }
    return Math.max(at, quietUntilNanos);
  }

  private void arm(Running held) {
    long at = freeAt(held);
    if (at < held.timerNanos) {
      held.timerNanos = at;
      timers.set(at, held.job.id());
    }
  }

  /** The lease's time is up. It stays the current one until somebody takes the next. */
  private void leaseEnded(Running held, Now now) {
    @Nullable Worker holder = fleet.find(held.lease().workerId());
    if (holder != null) {
      holder.fellSilent();
      fleet.update(holder);
    }
    if (held.job.state() == JobState.PAUSING) {
      Job next = next(held.job, new JobEvent.Released("paused; its worker fell silent"), now);
      endLease(held, next, endReason(held), AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED, now);
      return;
    }
    held.available = true;
    waiting.add(waitingOf(held), now.nanos());
    outbox.notify(held.job, "message", "worker " + held.lease().workerName() + " is silent", now);
  }

  private static String endReason(Running held) {
    return held.brokenAtNanos == Long.MAX_VALUE ? "lease expired" : "worker lost";
  }

  /** Ends a lease together with its attempt; {@code next} is what its job becomes. */
  private void endLease(Running held, Job next, String reason, AttemptOutcome outcome, Now now) {
    write(next, held.job.fence());
    Attempt ended = held.attempt.ended(now.epochMs(), reason, outcome);
    jobs.updateAttempt(ended);
    forget(held);
    outbox.notify(
        next,
        "attempt_ended",
        "attempt " + ended.number() + " on " + ended.lease().workerName() + ": " + reason,
        now);
    if (next.state() == JobState.QUEUED) {
      boolean avoid =
          outcome == AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR
              || (outcome == AttemptOutcome.ATTEMPT_OUTCOME_RELEASED && !ended.begun());
      Waiting waits = enqueue(next, avoid ? ended.lease().workerId() : "", now);
      if (waits.notBeforeNanos() > now.nanos()) {
        prepare(waits, next, null, false, now);
      }
    }
    settle(next, now);
  }

  private void forget(Running held) {
    running.remove(held.job.id());
    waiting.remove(held.job.id());
    @Nullable Worker holder = fleet.find(held.lease().workerId());
    if (holder != null) {
      holder.drop(held);
      fleet.update(holder);
      fleet.forgetIfGone(holder);
    }
  }

  /** What follows when a job is in a state without a lease. */
  private void settle(Job job, Now now) {
    outbox.notify(job, "state", job.reason(), now);
    if (job.state() != JobState.QUEUED) {
      unprepare(job.id());
    }
    if (job.state().ended()) {
      countDatasets(job, -1);
      workerFailures.remove(job.id());
      outbox.add(new Effect.Ended(job.id()));
    }
  }

  // ---- Placement

  private Waiting enqueue(Job job, String avoidWorkerId, Now now) {
    long wait =
        Math.min(job.failures().notBeforeMs() - now.epochMs(), JobTransitions.MAX_BACKOFF_MS);
    Waiting waits =
        new Waiting(
            job.id(),
            job.submission().seq(),
            Requirements.of(job),
            job.kind().machine(),
            avoidWorkerId,
            wait > 0 ? now.nanos() + wait * MILLI : Long.MIN_VALUE);
    waiting.add(waits, now.nanos());
    if (waits.notBeforeNanos() > now.nanos()) {
      timers.set(waits.notBeforeNanos(), job.id());
    }
    return waits;
  }

  private static Waiting waitingOf(Running held) {
    return new Waiting(
        held.job.id(),
        held.job.submission().seq(),
        held.needs,
        held.job.kind().machine(),
        "",
        Long.MIN_VALUE);
  }

  /** Grants what can be granted. Costs nothing where nothing became free and nothing new waits. */
  private void place(Now now) {
    if (now.nanos() < placeNotBeforeNanos) {
      return;
    }
    List<WaitingQueue.Lane> lanes;
    if (fleet.takeRoomier()) {
      waiting.takeFresh();
      lanes = waiting.lanes();
    } else {
      lanes = waiting.takeFresh();
    }
    PriorityQueue<WaitingQueue.Lane> untried =
        new PriorityQueue<>((a, b) -> Long.compare(a.first().seq(), b.first().seq()));
    untried.addAll(lanes);
    while (fleet.hasRoom() && !untried.isEmpty()) {
      WaitingQueue.Lane lane = untried.poll();
      Waiting first = lane.first();
      @Nullable Running held = running.get(first.jobId());
      Optional<Worker> worker =
          fleet.choose(
              first,
              standby(first.jobId()),
              held == null ? null : fleet.find(held.lease().workerId()),
              now);
      if (worker.isPresent()) {
        grant(first, held, worker.get(), now);
        if (!lane.isEmpty()) {
          untried.add(lane);
        }
      }
    }
  }

  private void grant(Waiting waits, @Nullable Running held, Worker worker, Now now) {
    Job job = held != null ? held.job : find(waits.jobId());
    Fence fence = job.fence();
    Job free = job;
    if (held != null) {
      String reason = endReason(held);
      free = next(job, new JobEvent.Lost(reason), now);
      if (free.state().ended()) {
        endLease(held, free, reason, AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED, now);
        return;
      }
      jobs.updateAttempt(
          held.attempt.ended(now.epochMs(), reason, AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED));
      forget(held);
      outbox.notify(job, "worker_lost", held.lease().workerName() + ": " + reason, now);
    }
    waiting.remove(job.id());
    Lease lease = new Lease(job.term() + 1, Ids.lease(random), worker.id, worker.name);
    Job granted =
        next(free, new JobEvent.Granted(lease, waits.needs().kindOn(worker.machine)), now);
    write(granted, fence);
    Attempt attempt = Attempt.granted(job.id(), lease, now.epochMs());
    jobs.insertAttempt(attempt);
    Running taken = new Running(granted, attempt, now.nanos() + leaseNanos);
    running.put(job.id(), taken);
    worker.take(taken);
    arm(taken);
    if (worker.id.equals(standbys.get(job.id()))) {
      standbys.remove(job.id());
    }
    worker.told.remove(job.id());
    fleet.update(worker);
    if (!worker.hasFreeSlot()) {
      for (String other : List.copyOf(worker.told.keySet())) {
        unprepare(other);
      }
    }
    outbox.notify(granted, "state", "leased to " + worker.name, now);
    outbox.send(
        worker,
        CoordinatorMessage.newBuilder()
            .setOffer(
                Offer.newBuilder()
                    .setLease(Outbox.ref(job.id(), lease))
                    .setAssignment(assignment(granted, lease.term(), false)))
            .build());
  }

  /** Sees to it that a running job has a worker that stands by, if one has room. */
  private void standBy(Running held, boolean leaving, Now now) {
    if (held.job.state() != JobState.RUNNING || (!leaving && standby(held.job.id()) != null)) {
      return;
    }
    if (fleet.hasRoom()) {
      prepare(waitingOf(held), held.job, fleet.find(held.lease().workerId()), true, now);
    }
  }

  /** The worker that was told to prepare the job, if it still could take it. */
  private @Nullable Worker standby(String jobId) {
    String id = standbys.get(jobId);
    Worker worker = id == null ? null : fleet.find(id);
    return worker != null && worker.hasFreeSlot() && worker.told.containsKey(jobId) ? worker : null;
  }

  /** Tells the best worker to make itself ready for a job that it may be offered soon. */
  private void prepare(
      Waiting waits, Job job, @Nullable Worker holder, boolean stageOnly, Now now) {
    @Nullable Worker old = standby(job.id());
    Optional<Worker> chosen = fleet.choose(waits, old, holder, now);
    if (chosen.isEmpty()) {
      return;
    }
    Worker worker = chosen.get();
    Worker.Preparation wanted = stageOnly ? Worker.Preparation.STAGE : Worker.Preparation.RESTORE;
    if (stageOnly
        && (worker.told.containsKey(job.id())
            || worker.told.size() >= STANDBY_JOBS_PER_SLOT * worker.slots)) {
      return;
    }
    if (worker != old) {
      unprepare(job.id());
    }
    worker.told.put(job.id(), wanted);
    standbys.put(job.id(), worker.id);
    outbox.send(
        worker,
        CoordinatorMessage.newBuilder()
            .setPrepare(
                Prepare.newBuilder().setAssignment(assignment(job, job.term() + 1, stageOnly)))
            .build());
  }

  private void unprepare(String jobId) {
    String id = standbys.remove(jobId);
    @Nullable Worker worker = id == null ? null : fleet.find(id);
    if (worker != null && worker.told.remove(jobId) != null) {
      outbox.unprepare(worker, jobId);
    }
  }

  private Assignment assignment(Job job, long attempt, boolean stageOnly) {
    Assignment.Builder assignment =
        Assignment.newBuilder()
            .setJobId(job.id())
            .setSpec(job.spec())
            .setAttempt(Math.toIntExact(attempt))
            .setWorldSize(1)
            .setSpecDigest(job.submission().specDigest())
            .setStageOnly(stageOnly);
    datasets(job.spec()).forEach(record -> assignment.addDatasets(record.dataset()));
    if (job.term() > 0) {
      List<CheckpointRecord> checkpoints = jobs.checkpoints(job.id());
      for (int i = checkpoints.size() - 1; i >= 0; i--) {
        assignment.addCheckpoints(JobViews.checkpoint(checkpoints.get(i)));
      }
    }
    return assignment.build();
  }

  // ---- Small things

  private List<DatasetRecord> datasets(JobSpec spec) {
    return JobSpecs.datasetNames(spec).stream()
        .map(
            name ->
                stores
                    .datasets()
                    .find(name)
                    .orElseThrow(() -> new IllegalStateException("data set " + name + " is gone")))
        .toList();
  }

  private void countDatasets(Job job, int change) {
    for (String name : JobSpecs.datasetNames(job.spec())) {
      datasetUses.merge(name, change, (a, b) -> a + b == 0 ? null : a + b);
    }
  }

  private void discard(CheckpointRecord checkpoint) {
    jobs.deleteCheckpoint(checkpoint);
    stores.uploads().setState(checkpoint.id(), Upload.State.DISCARDED);
  }

  private void order(Running held, OrderKind kind, String reason) {
    @Nullable Worker holder = fleet.find(held.lease().workerId());
    if (holder != null) {
      outbox.order(holder, Outbox.ref(held.job.id(), held.lease()), kind, reason);
    }
  }

  private void orderDrain(Worker worker) {
    outbox.order(
        worker, LeaseRef.getDefaultInstance(), OrderKind.ORDER_KIND_DRAIN, "asked to drain");
  }

  private Worker inSession(String workerId, long session) {
    @Nullable Worker worker = fleet.find(workerId);
    if (worker == null || !worker.connected || worker.session != session) {
      throw aborted("session " + session + " of worker " + workerId + " is over");
    }
    return worker;
  }

  private Job find(String jobId) {
    return jobs.find(jobId).orElseThrow(() -> notFound("there is no job " + jobId));
  }

  private static Job next(Job job, JobEvent event, Now now) {
    Transition transition = JobTransitions.apply(job, event, now);
    if (transition instanceof Transition.Next next) {
      return next.job();
    }
    throw precondition(((Transition.Refused) transition).message());
  }

  private void write(Job next, Fence fence) {
    if (!jobs.update(next, fence)) {
      // Memory and store are out of step: the caller rolls back and reloads.
      throw new IllegalStateException("job " + fence.jobId() + " changed under " + fence);
    }
  }
}
