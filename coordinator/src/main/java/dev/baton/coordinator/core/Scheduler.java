package dev.baton.coordinator.core;

import dev.baton.v1.AppendLogRequest;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CreateDownloadRequest;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.Dataset;
import dev.baton.v1.Draining;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.GroupBroken;
import dev.baton.v1.GroupWaiting;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.Hello;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.ProbeResult;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.UploadContent;
import dev.baton.v1.WorkerInfo;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
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
 *
 * <p>This is the core's face: it looks at the clock, has one of the parts do the work, and places
 * what can be placed then. The parts share a {@link CoreState}. What clients ask for is done by
 * {@link JobWrites}, {@link DatasetWrites} and {@link JobQueries}; what workers do by {@link
 * Sessions}, {@link AttemptWrites} and {@link Uploads}; what follows from that by {@link Leases},
 * {@link Placement} and {@link Standbys}, and for jobs of several replicas by {@link Gangs}, {@link
 * GangForming}, {@link GangProbes}, {@link GangGrowth} and {@link Reach}.
 */
public final class Scheduler {

  /** {@link #tick} must be called at least this often. */
  public static final long TICK_MS = 250;

  /** The contract's version, as in Hello. */
  public static final int PROTOCOL = 1;

  private static final long MILLI = 1_000_000;

  /** A clock this much later than its tick: we were suspended, or starved. */
  private static final long LATE_NANOS = 1_000 * MILLI;

  private final CoreState state;
  private final Leases leases;
  private final Reach reach;
  private final Gangs gangs;
  private final Placement placement;
  private final JobWrites jobs;
  private final Sessions sessions;
  private final Uploads uploads;
  private final AttemptWrites attempts;
  private final DatasetWrites datasets;
  private final JobQueries queries;

  private @Nullable Now last;

  public Scheduler(Stores stores, LeasePolicy policy, RandomGenerator random) {
    this.state = new CoreState(stores, policy);
    Standbys standbys = new Standbys(state);
    this.leases = new Leases(state, standbys, random);
    this.reach = new Reach(state.outbox, random);
    GangForming forming = new GangForming(state, leases, standbys);
    this.gangs = new Gangs(state, leases, standbys, forming, new GangProbes(state, reach));
    GangGrowth growth = new GangGrowth(state, standbys, reach, gangs);
    this.placement = new Placement(state, leases, standbys, forming, growth, reach);
    this.jobs = new JobWrites(state, leases, standbys, gangs, random);
    this.sessions = new Sessions(state, leases, standbys, gangs, forming, reach, placement);
    this.uploads = new Uploads(state);
    this.attempts = new AttemptWrites(state, leases, gangs, forming, uploads);
    this.datasets = new DatasetWrites(state, uploads);
    this.queries = new JobQueries(state, leases, placement);
  }

  // ---- Life of the coordinator

  /** Loads what is stored. Nobody's lease ends for one whole lease from now on. */
  public void start(Now now) {
    last = now;
    leases.quiet(now);
    load(now);
    placement.place(now);
  }

  /**
   * Loads what is stored again after a transaction that failed; keeps sessions, deadlines and
   * progress. Effects that were not drained are dropped. Nothing is granted for a second, so that a
   * full disk does not turn into a storm of reloads.
   */
  public void reload(Now now) {
    state.outbox.drain();
    reach.dropQuestions();
    load(now);
    placement.pause(now);
  }

  private void load(Now now) {
    // Where the transaction that failed had ended a lease, what memory knew of it counts again.
    Map<LeaseRef, Running> before = new HashMap<>();
    for (Running known : state.departed) {
      before.put(Outbox.ref(known.job.id(), known.lease(), 0), known);
    }
    for (Running known : state.running.values()) {
      before.put(Outbox.ref(known.job.id(), known.lease(), 0), known);
    }
    state.departed.clear();
    state.running.clear();
    state.gangs.clear();
    state.waiting.clear();
    state.timers.clear();
    state.standbys.clear();
    state.datasetUses.clear();
    for (Worker worker : List.copyOf(state.fleet.all())) {
      worker.dropAll();
      worker.told.clear();
    }
    state.lastSeq = state.jobs.lastSeq();
    List<Job> leased = new ArrayList<>();
    state.jobs.forEachUnfinished(
        job -> {
          state.countDatasets(job, 1);
          if (job.state() == JobState.QUEUED) {
            leases.enqueue(job, "", now);
          } else if (job.state().leased()) {
            leased.add(job);
          }
        });
    for (Job job : leased) {
      Attempt attempt =
          state
              .jobs
              .attempt(job.id(), job.term())
              .orElseThrow(
                  () -> new IllegalStateException("job " + job.id() + " runs without an attempt"));
      Running loaded = new Running(job, attempt, leases.deadline(now), now);
      @Nullable Running known = before.get(Outbox.ref(job.id(), attempt.lease(), 0));
      if (known != null) {
        loaded.progress = known.progress;
        if (attempt.begun()) {
          loaded.attempt = attempt.stepped(known.attempt.firstStep(), known.attempt.lastStep());
        }
        loaded.keep(known);
      } else {
        gangs.loaded(loaded, now);
      }
      state.running.put(job.id(), loaded);
      if (loaded.group != null) {
        state.gangs.add(job.id());
      }
      for (Lease.Member member : attempt.lease().members()) {
        state.fleet.get(member.workerId(), member.workerName()).take(loaded);
      }
      leases.arm(loaded);
    }
    for (Worker worker : List.copyOf(state.fleet.all())) {
      state.fleet.update(worker);
      state.fleet.forgetIfGone(worker);
    }
  }

  /** Looks at what is due. To be called every {@link #TICK_MS} or sooner. */
  public void tick(Now now) {
    observe(now);
    leases.tick(now, held -> gangs.look(held, now));
    placement.place(now);
  }

  /** What is to be done now that the transaction is on disk, in order. */
  public List<Effect> drainEffects() {
    state.departed.clear();
    return state.outbox.drain();
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
      leases.quiet(now);
      reach.late(now);
      for (Worker worker : state.fleet.all()) {
        if (worker.connected) {
          worker.lastHeardNanos = now.nanos();
        }
      }
    }
  }

  /** A command: what it may have made possible is placed at once. */
  private void command(Now now, Runnable command) {
    observe(now);
    command.run();
    placement.place(now);
  }

  // ---- Clients

  /**
   * Stores a job.
   *
   * @return its id; that of the first one where the request id is repeated
   */
  public String submit(String requestId, JobSpec spec, Now now) {
    observe(now);
    String id = jobs.submit(requestId, spec, now);
    placement.place(now);
    return id;
  }

  /** Ends a job. */
  public void cancel(String jobId, Now now) {
    command(now, () -> jobs.change(jobId, new JobEvent.Cancel(), now));
  }

  /** Has a job handed back, and keeps it from being leased. */
  public void pause(String jobId, Now now) {
    command(now, () -> jobs.change(jobId, new JobEvent.Pause(), now));
  }

  /** Queues a paused job again. */
  public void resume(String jobId, Now now) {
    command(now, () -> jobs.change(jobId, new JobEvent.Resume(), now));
  }

  /** A job as its user sees it, whole. */
  public dev.baton.v1.Job view(String jobId, Now now) {
    return queries.view(jobId, now);
  }

  /** Jobs as users see them, newest first, each with its last attempt and checkpoint alone. */
  public List<dev.baton.v1.Job> list(Set<JobState> states, int limit, Now now) {
    return queries.list(states, limit, now);
  }

  // ---- Workers

  /**
   * A worker's stream begins.
   *
   * @throws CoordinatorException ABORTED where a newer one exists
   */
  public void openSession(Hello hello, Now now) {
    command(now, () -> sessions.openSession(hello, now));
  }

  /** Renews the leases that are listed. */
  public void heartbeat(String workerId, long session, Heartbeat heartbeat, Now now) {
    command(now, () -> sessions.heartbeat(workerId, session, heartbeat, now));
  }

  /** Takes note of progress. What comes late, or of a term that is over, is dropped. */
  public void progress(String workerId, long session, ProgressReport report, Now now) {
    observe(now);
    sessions.progress(workerId, session, report, now);
  }

  /** A replica can begin as soon as all of its gang can. */
  public void groupWaiting(String workerId, long session, GroupWaiting message, Now now) {
    command(now, () -> sessions.groupWaiting(workerId, session, message, now));
  }

  /** A replica's group cannot go on; it keeps its state for the next one. */
  public void groupBroken(String workerId, long session, GroupBroken message, Now now) {
    command(now, () -> sessions.groupBroken(workerId, session, message, now));
  }

  /** Which of the workers that it was to try a worker has reached. */
  public void probeResult(String workerId, long session, ProbeResult message, Now now) {
    command(
        now,
        () -> {
          sessions.probeResult(workerId, session, message, now);
          placement.probed(now);
        });
  }

  /** The worker takes no more jobs and hands over what it holds; or takes jobs again. */
  public void draining(String workerId, long session, Draining message, Now now) {
    command(now, () -> sessions.draining(workerId, session, message, now));
  }

  /** A worker's stream is gone, however it ended. That of an older session means nothing. */
  public void closeSession(String workerId, long session, Now now) {
    command(now, () -> sessions.closeSession(workerId, session, now));
  }

  /** Every worker that is connected or whose leases still stand. */
  public List<WorkerInfo> workers() {
    return sessions.workers();
  }

  /** Has a worker hand over its jobs and take no more. By id, or by a name that one worker has. */
  public WorkerInfo drainWorker(String idOrName, Now now) {
    observe(now);
    WorkerInfo done = sessions.drainWorker(idOrName, now);
    placement.place(now);
    return done;
  }

  // ---- What a worker does with its lease

  /** The attempt's state is restored; withdraws what lies beyond it. */
  public void beginAttempt(BeginAttemptRequest request, Now now) {
    observe(now);
    attempts.beginAttempt(request, now);
  }

  /**
   * Notes an object that a worker is about to send.
   *
   * @return what was noted, now or by an earlier call with this id
   */
  public Upload createUpload(CreateUploadRequest request, Now now) {
    observe(now);
    return uploads.createUpload(request, now);
  }

  /** Says of a running job that the object store has no room for what its worker would store. */
  public void storageRefused(LeaseRef lease, String why, Now now) {
    observe(now);
    attempts.storageRefused(lease, why, now);
  }

  /** Notes the store's name of a multipart upload that was begun. */
  public void multipartStarted(String uploadId, String multipartId) {
    uploads.multipartStarted(uploadId, multipartId);
  }

  /**
   * An upload of this lease, to be verified with the object store before it is committed.
   *
   * @throws CoordinatorException ABORTED where the term is over and the upload was never committed
   */
  public Upload uploadOf(LeaseRef lease, String uploadId) {
    return uploads.uploadOf(lease, uploadId);
  }

  /**
   * Makes a checkpoint exist. The caller has verified the upload with the object store.
   *
   * @return the checkpoint's id
   */
  public String commitCheckpoint(CommitCheckpointRequest request, Now now) {
    observe(now);
    String done = attempts.commitCheckpoint(request, now);
    placement.place(now);
    return done;
  }

  /** Ends the attempt, and the lease. The caller has verified its artifacts' uploads. */
  public void finishAttempt(FinishAttemptRequest request, Now now) {
    command(now, () -> attempts.finishAttempt(request, now));
  }

  /**
   * Appends to a job's log.
   *
   * @return where this term's next piece goes
   */
  public long appendLog(AppendLogRequest request, Now now) {
    observe(now);
    return attempts.appendLog(request, now);
  }

  /** An object that this worker may read: it holds the job, or was told to prepare it. */
  public StoredObject download(CreateDownloadRequest request) {
    return uploads.download(request);
  }

  // ---- Data sets

  /** Notes a file of a data set that is about to be sent. */
  public Upload createDatasetUpload(String uploadId, UploadContent content, Now now) {
    observe(now);
    return uploads.createDatasetUpload(uploadId, content, now);
  }

  /** An upload of a data set's file, to be verified with the object store. */
  public Upload datasetUpload(String uploadId) {
    return uploads.datasetUpload(uploadId);
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
    return datasets.commitDataset(said, uploadIds, now);
  }

  /** Removes a data set that no unfinished job refers to; the sweep takes its objects. */
  public void deleteDataset(String name, Now now) {
    observe(now);
    datasets.deleteDataset(name, now);
  }
}
